// Package password stores passwords as text that can be verified and not be turned back.
//
// Hash writes PHC strings (https://github.com/P-H-C/phc-string-format): salts of 16 random bytes, hashes of 32 bytes, standard
// base64 without padding, numbers without leading zeros, fields in this order.
//
//	$argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>     RFC 9106
//	$scrypt$ln=17,r=8,p=1$<salt>$<hash>              RFC 7914, N = 2^ln
//	$pbkdf2-sha256$i=600000$<salt>$<hash>            RFC 8018 with HMAC-SHA256
//	$pbkdf2-sha512$i=210000$<salt>$<hash>            RFC 8018 with HMAC-SHA512
//
// Verify reads these with other costs too, and what an imported deployment wrote:
//
//	$argon2i$v=19$m=65536,t=3,p=4$<salt>$<hash>
//	$scrypt$n=131072,r=8,p=1$<salt>$<hash>           base64 with padding
//	$pbkdf2-sha256$600000$<salt>$<hash>              base64 with padding; also sha512
//	$2b$12$<22 characters of salt><31 of hash>       bcrypt; also $2a$ and $2y$
//
// Argon2d is recognised and refused: no library that this service uses computes it, and against an attacker who watches the
// memory of the host it is the weaker one.
//
// A string is parsed and held against the limits before anything is computed: 512 characters, salt of 8 to 64 bytes, hash of
// 16 to 64 bytes, costs within the limits of package kdf, bcrypt's cost 4 to 15 (2 seconds). So no string can ask for more
// memory or time than a derivation may. Computations wait for their turn as package kdf says.
//
// bcrypt reads 72 bytes of a password and no more, and takes "a" for the same as "a", zero byte, "a". Longer passwords and
// those with a zero byte are refused for it, so that two passwords are never one.
//
// Whether FIPS mode allows an algorithm is for the caller: Identify tells the algorithm of a string before it is computed.
// Argon2i, Argon2d and bcrypt are names of this package alone. The table of package algs does not have them, and what it does
// not have is not approved.
package password
