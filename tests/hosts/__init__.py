"""Tests of simulated hosts, sockets and names; many hold the simulated kernel to the real one of this machine."""
