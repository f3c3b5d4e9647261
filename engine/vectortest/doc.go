// Package vectortest runs test vectors that others wrote and keeps account of them: how many cases a source has for an
// algorithm, how many passed, and which were left out for which reason. Nothing is left out silently.
//
// Tests that use it have Vectors in their name; `make vectors` runs them and prints the account.
package vectortest
