// Package engine is the cryptographic service, free of transport and device: the one place where it is decided what a
// subject may do, which key an operation uses and what leaves the node.
//
// Every use case has the same shape. It takes a Call (who, from where, under which request id), decides from the
// subject and the records of the things it touches, works, looks at the records once more, writes one audit record and
// only then answers. A result whose record cannot be written is discarded.
//
// The token is reached through Vault, replicated state through Ledger and the audit log through AuditLog: package
// appliance joins them. DESIGN.md beside this file tells the key hierarchy and what happens in each operation.
package engine
