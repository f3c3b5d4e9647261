// Package mac computes and verifies the message authentication codes of the algorithm table.
//
//	HMAC-SHA256, -SHA384, -SHA512, -SHA3-256    key 32, 48, 64, 32 bytes    tag 32, 48, 64, 32 bytes, or its first 16 and more
//	                                            FIPS 198-1 (truncation: SP 800-107r1 section 5.3.3), crypto/hmac
//	AES-128-CMAC, AES-256-CMAC                  key 16, 32 bytes            tag 16 bytes
//	                                            SP 800-38B, RFC 4493, tink-go and crypto/aes
//	KMAC128, KMAC256                            key 32 bytes                tag 16 to 65536 bytes, usually 32 and 64
//	                                            SP 800-185 section 4, over crypto/sha3's cSHAKE
//
// A tag is as long as Options say, and their zero value means the usual length. Verify accepts that length and no other, so
// that nobody shortens a tag until it can be guessed. The output length of KMAC is part of what is authenticated: a short
// tag is not the beginning of a long one.
//
// KMAC (SP 800-185 section 4.3), with rate 168 or 136 bytes:
//
//	KMAC(K, X, L, S)  = cSHAKE(bytepad(encode_string(K), rate) || X || right_encode(L), L, "KMAC", S)
//	encode_string(K)  = left_encode(bits of K) || K
//	bytepad(B, w)     = left_encode(w) || B || zero bytes up to a multiple of w
//	left_encode(n)    = count of the bytes of n (1) || n, big-endian without leading zeros, at least one byte
//	right_encode(n)   = n || count
//
// CMAC of a stream: with M = M1 || ... || Mn and the chaining values Ci = E(Ci-1 xor Mi) of CBC, C0 = 0, the tag is
//
//	CMAC(M) = CMAC((Cn-2 xor Mn-1) || Mn)
//
// because CMAC encrypts its first block as it is. So crypto/cipher's CBC runs over all blocks except the last two, and
// tink-go's CMAC over those.
package mac
