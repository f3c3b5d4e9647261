//go:build race

package fence

// seeds is fewer under the race detector, which makes the simulation ten times as slow: each of its worlds is one goroutine.
const seeds = 150
