// Package nodes holds the agent against what is promised of it: nodes of a
// flannel network, with containers behind them. Its tests run the program as an
// operator does, in hosts of the lab, on the store that one of the nodes runs.
package nodes
