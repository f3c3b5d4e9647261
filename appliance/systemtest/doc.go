// Package systemtest starts the daemon as its users do, as a process of its own with a SoftHSM2 token, a Raft log and an
// audit log on a real disk, and talks to it over TLS. Faults are real ones: signals, moved folders, flipped bytes, full
// file systems.
package systemtest
