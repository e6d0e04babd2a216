"""The one to copy first: an agent asks, another answers, and the network between them is not to be trusted."""

import pytest

from pytest_convergence import AgentError, Session, SimulatedAgent

PRICES = {"tea": 3, "milk": 2}


async def shop(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        await agent.reply(message, PRICES[message.payload])


async def patient_buyer(agent: SimulatedAgent) -> int:
    while True:
        try:
            price: int = await agent.request("shop", "tea", timeout=1)
        except TimeoutError:
            continue  # the question or the answer was lost: ask again
        return price


async def hasty_buyer(agent: SimulatedAgent) -> int:
    price: int = await agent.request("shop", "tea", timeout=1)
    return price


@pytest.mark.convergence(agents={"shop": shop, "buyer": patient_buyer})
def test_the_buyer_learns_the_price(convergence_session: Session) -> None:
    outcome = convergence_session.run()
    assert outcome.results["buyer"] == 3


@pytest.mark.convergence(agents={"shop": shop, "buyer": patient_buyer}, network="flaky", schedules=50)
def test_the_buyer_learns_the_price_over_a_flaky_network_too(convergence_session: Session) -> None:
    outcome = convergence_session.run()
    assert outcome.results["buyer"] == 3


@pytest.mark.convergence(agents={"shop": shop, "buyer": hasty_buyer})
def test_who_asks_only_once_fails_when_the_answer_is_lost(convergence_session: Session) -> None:
    async def scenario(session: Session) -> None:
        with session.network.drop("shop", "buyer"):
            await session.finished()

    # The timeout of the request is the buyer's own exception; the error says which agent died of it.
    with pytest.raises(AgentError, match="agent 'buyer' raised TimeoutError"):
        convergence_session.run(scenario)
