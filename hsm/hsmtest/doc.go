// Package hsmtest is the conformance suite for PKCS#11 tokens: what a token must do, and must refuse, before the
// appliance may trust it with a master key.
//
// Conformance takes a fresh, empty token and tests all of it. Derive needs no empty token and makes session objects
// only: it tests key derivation, for modules that can do no more.
package hsmtest
