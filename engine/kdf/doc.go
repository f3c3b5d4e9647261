// Package kdf derives keys: from secrets that nobody can guess (HKDF, KBKDF) and from passwords, which takes time and memory
// on purpose (PBKDF2, Argon2id, scrypt).
//
//	HKDF-SHA256, -SHA384, -SHA512         RFC 5869, crypto/hkdf: extract with the salt, expand with the info
//	KBKDF-HMAC-SHA256, -SHA384, -SHA512   SP 800-108r1 section 4.1 over crypto/hmac, see below
//	PBKDF2-SHA256, -SHA512                RFC 8018 section 5.2 with HMAC, crypto/pbkdf2
//	Argon2id                              RFC 9106, version 0x13, without secret and associated data, golang.org/x/crypto/argon2
//	scrypt                                RFC 7914, golang.org/x/crypto/scrypt
//
// KBKDF is the counter mode with a 32-bit counter before the fixed input, all integers big-endian:
//
//	K(i)        = HMAC(secret, uint32(i) || fixed input)    i = 1, 2, ...
//	fixed input = label || 0x00 || context || uint32(bits of output)
//
// A label with a zero byte is refused, so that no two pairs of label and context have the same fixed input.
//
// # Limits
//
//	                what                                least      most
//	all             output bytes                        1          1024; HKDF 255 hashes: 8160, 12240, 16320
//	HKDF, KBKDF     secret bytes                        16         4096
//	HKDF            salt bytes, info bytes              0          1024
//	KBKDF           label bytes, context bytes          0          1024
//	passwords       password bytes                      1          4096
//	                salt bytes                          8          1024
//	PBKDF2          iterations                          1,000      10,000,000
//	                iterations x blocks of output       -          10,000,000 SHA-256, 4,000,000 SHA-512
//	Argon2id        memory in KiB                       8,192      262,144
//	                time                                1          10
//	                parallelism                         1          16
//	                memory in KiB x time                -          1,048,576
//	scrypt          N, a power of two                   1,024      1,048,576
//	                r                                   1          32
//	                p                                   1          16
//	                128 x N x r x p in bytes            -          256 MiB
//
// A computation that has begun cannot be stopped, which is why the products are bounded. At the bound one call took, on one
// core of a 2-core machine: PBKDF2-SHA256 2.1 s, PBKDF2-SHA512 3.1 s, Argon2id 1.6 s, scrypt 1.8 s. On machines without
// SHA instructions PBKDF2-SHA256 takes about four times as long.
//
// # All calls together
//
// The calls of a process that work on passwords share two budgets: as many run at once as there are processors for Go
// (GOMAXPROCS), and Argon2id and scrypt together hold 256 MiB. SetBudget changes both. A call waits for its turn as long as
// its context lasts, 10 seconds at most, and is refused with fault.Unavailable after that. Goroutines may share the package.
package kdf
