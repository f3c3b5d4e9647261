// Package p11 is the seam between package hsm and a PKCS#11 module: the calls that are used and no others, the one
// implementation over a real module, and a fault injector that wraps any implementation.
//
// Everything above the seam speaks in sessions and object handles of PKCS#11 v2.40. Moving the module into a child
// process means one more implementation of Module, and nothing above it changes.
package p11
