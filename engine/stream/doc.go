// Package stream seals data of any size in segments, in constant memory, so that cuts, swaps and edits are noticed and any
// range can be opened on its own. It knows no key store and no frame: who calls it brings a key and the associated data.
//
// The bytes are those of Tink's AES-GCM-HKDF streaming with a 32-byte derived key, HKDF-SHA256 and ciphertext segments of
// 65,536 bytes, so every Tink with these parameters reads what is written here, and the other way round
// (https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming). Sizes in bytes, integers big-endian:
//
//	stream      = header (40) || segment 0 || segment 1 || ... || segment n-1
//	header      = header length (1) = 40 || salt (32) || nonce prefix (7)          salt and prefix are random
//	stream key  = HKDF-SHA256(ikm = key, salt, info = associated data, 32)         RFC 5869
//	segment i   = AES-256-GCM(stream key, nonce i, plaintext i, no AAD) || tag (16) SP 800-38D
//	nonce i     = nonce prefix (7) || i (4) || 1 if i is the last segment, else 0 (1)
//
//	segment 0   = 65,496 bytes with its tag (65,536 with the header before it): 65,480 of plaintext
//	segment i>0 = 65,536 bytes with its tag: 65,520 of plaintext
//
// Only the last segment may be shorter. It is never empty, except in the stream of the empty plaintext, which is header ||
// tag (56 bytes). So a plaintext has one length of stream, and a stream one of plaintext: CiphertextLength, PlaintextLength.
// There are at most 2^32-1 segments (256 TiB less one segment): tink-go reads no segment with the number 2^32-1.
//
// # Why it holds
//
// This is the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar, "Online Authenticated-Encryption and its
// Nonce-Reuse Misuse-Resistance" (CRYPTO 2015, https://eprint.iacr.org/2015/189): number and last flag in the nonce make
// reordering, repeating, dropping, cutting and extending fail as a wrong tag. Tink's form of it, with a key for each stream,
// is analysed in Hoang and Shen, "Security of Streaming Encryption in Google's Tink Library" (CCS 2020,
// https://eprint.iacr.org/2020/1019). The nonces follow the deterministic construction of SP 800-38D section 8.2.1: prefix as
// fixed field, number and flag as an invocation field that only rises. A changed salt or other associated data give another
// stream key, a changed prefix another nonce.
//
// A stream of 2^32 segments is 2^44 blocks under one key; the term of GCM's bound that grows fastest is then 2^88/2^129.
//
// # What it does not do
//
// GCM commits to no key: a stream can be made that opens under two keys. A caller for whom that matters compares a key
// commitment before, as the frame of package envelope does.
//
// A range that does not reach the last segment says nothing of what follows it: somebody may have cut the stream behind the
// range. Each byte that is released is authentic and at its place all the same, and a range that reaches the end is checked
// to be the end.
//
// A Reader releases segment after segment, before it has seen the last. Who must not act on the beginning of a stream that
// turns out to be cut waits for io.EOF.
//
// Differences from tink-go: an empty last segment behind another one is refused (its writer makes none, its reader takes it);
// an error of the input is told apart from the end of the stream; a failed Writer stays failed.
//
// # FIPS 140
//
// Everything runs in the Go Cryptographic Module and works with GODEBUG=fips140=on. HKDF-SHA256 and opening (GCM.Open) are
// approved services of the module. Sealing is not: the nonce construction is SP 800-38D's, but cipher.NewGCM takes the nonce
// from its caller, and for that GCM.Seal sets the module's service indicator to non-approved (crypto/internal/fips140/aes/gcm,
// gcm.go), because FIPS 140-3 IG C.H wants the module to make the nonce or to check that it counts. The module has such a
// GCM (NewGCMWithCounterNonce, IG C.H scenario 3), and these nonces would pass its checks, but the standard library uses it
// and its kin inside crypto/tls and crypto/hpke only and exports none. So sealing here is an approved algorithm and not an
// approved service, and with GODEBUG=fips140=only, where cipher.NewGCM is refused, all constructors return its error.
package stream
