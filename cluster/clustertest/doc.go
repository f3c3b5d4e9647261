// Package clustertest is a network in memory for tests: nodes of one process reach each other over it, and it loses, delays,
// repeats and reorders what a test wants.
package clustertest
