//go:build race

package systemtest

// The daemon is built the way the test was, so that the race detector watches both.
const raceFlag = "-race=true"
