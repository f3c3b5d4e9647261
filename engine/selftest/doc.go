// Package selftest runs a known answer through every algorithm of the table before a node serves: a miscompiled library or a
// broken processor shows before it has touched anybody's data.
//
// The answers (answers.json) were made by this program when its implementations passed the vectors of others, so they find
// change, not error; the vector tests find error. The Go Cryptographic Module has self-tests of its own besides.
package selftest
