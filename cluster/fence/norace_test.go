//go:build !race

package fence

// seeds is how many clusters TestSimulation simulates.
const seeds = 1500
