// Package cluster replicates the state that all nodes agree on: it is the one folder that knows Raft.
//
// A Node keeps a log of commands (cluster/command), sealed before Raft sees them, and applies each to tables in memory.
// Propose adds a command and returns its outcome; View reads the newest state without a lock; Epoch tells whether
// something that was decided before must be decided again.
//
//	Propose -> seal -> raft -> logStore -> raft.db        durable, one fsync for all that wait
//	                     |
//	                     `-> fsm -> open -> apply -> View -> Epoch -> outcome
//
// Applying a command is a pure function of state and command, in apply.go. Everything on disk is sealed or carries an
// authentication code, and Open verifies it; DESIGN.md in this folder says what lies where, and which paths of the
// libraries below are closed and why.
//
// So far a cluster has one voter.
package cluster
