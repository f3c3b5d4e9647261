// Package softhsm finds, installs and isolates SoftHSM2, the software token that the embedded default and every test
// use.
//
// It speaks no PKCS#11 itself. A Store is a directory with a configuration and the token files; SoftHSM2 learns of it
// by the environment variable SOFTHSM2_CONF when a process initialises the module. So a process has one Store at a
// time, and changing it counts from the next C_Initialize on.
package softhsm
