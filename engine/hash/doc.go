// Package hash computes the hash and extendable-output functions of the algorithm table.
//
//	SHA-224, SHA-256, SHA-384, SHA-512, SHA-512/256    28, 32, 48, 64, 32 bytes    FIPS 180-4       crypto/sha256, crypto/sha512
//	SHA3-224, SHA3-256, SHA3-384, SHA3-512             28, 32, 48, 64 bytes        FIPS 202         crypto/sha3
//	SHAKE128, SHAKE256                                 1 to 65536 bytes, usually   FIPS 202         crypto/sha3
//	                                                   32 and 64
//	BLAKE2b-256, BLAKE2b-512                           32, 64 bytes, without key   RFC 7693         golang.org/x/crypto/blake2b
//
// The usual lengths of the SHAKE functions, twice the security strength, are those at which they resist collisions as well
// as they can (FIPS 202 table 4). What a SHAKE function gives for one length is the beginning of what it gives for a
// greater one. Whether FIPS mode allows an algorithm is for the caller to ask of package algs.
package hash
