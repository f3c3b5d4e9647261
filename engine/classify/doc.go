// Package classify derives from what data is what protects it, and says why.
//
// Four layers of a context are stated by people: what the data is (DataIdentity), what the law asks (Regulatory), who may
// come for it (ThreatModel) and how it is used (AccessPatterns). Resolve computes the fifth, Derived: the least strength, the
// algorithm, the rotation, the audit level, the suite of the context's other keys, and a line of reason for each. Resolve is
// pure: equal layers give equal answers on every node. A newer version may answer differently, so what is replicated is the
// layers and what was chosen by them; applying a command must not resolve again.
//
// # Rules
//
//	bits          critical, high 256; medium, low 128; a nation state or quantum resistance raises to 256
//	quantum       an adversary with a quantum computer; a lifetime of more than 10 years; more than 5 with a nation state
//	rotation      30, 90, 180, 365 days from critical to low; 90 at most under PCI-DSS and HIPAA
//	audit         full, detailed, standard, minimal from critical to low
//	hardware      preferred for frequency high, a latency below 10 ms or more than 1000 operations a second
//	algorithm     quantum: X25519MLKEM768+AES-256-GCM, but AES-256-GCM for streams
//	              else in_use AES-256-GCM-SIV; in_transit and streaming AES-256-GCM; at_rest AES-256-GCM or AES-128-GCM by bits
//	suite         critical ECDSA-P384 or ML-DSA-87, SHA-384, HKDF-SHA384, HMAC-SHA384; high ECDSA-P256 or ML-DSA-65;
//	              others ECDSA-P256 or ML-DSA-44; these with SHA-256, HKDF-SHA256, HMAC-SHA256
//
// The bits are those of the cipher's key. The encapsulation in X25519MLKEM768+AES-256-GCM has 192 bits by package algs, and
// ECDSA-P256 has 128; a rationale line says it where the number falls short.
//
// Category, subcategory, pii, notification, examples, attack vectors, borders and batches decide nothing: they are for the
// reader. Residency, deletion method, retention and search decide nothing either, but have a line that says who has to act.
//
// # Where the public original resolves otherwise
//
//   - Quantum-resistant data got AES-256-GCM+ML-KEM-768, which falls with ML-KEM alone. Here either half suffices.
//   - api-secrets got ChaCha20-Poly1305, which FIPS mode refuses. No choice between ciphers follows from speed here: all are
//     AES, and what is not approved names what FIPS mode takes in its place.
//   - Streams got ChaCha20-Poly1305 or, when quantum-resistant, a hybrid, which the streams of this service cannot use. Here
//     they get AES-256-GCM under a derived key: 256 bits hold against quantum computers, and the rationale says what was given up.
//   - A quantum adversary left medium and low data at 128 bits. Package algs counts AES-128 as not quantum-safe.
//   - Rotation followed the names of frameworks alone. Here the flags pci and phi count as well, and "pci dss 4.0" as a name.
//   - The usage "disk" gave AES-XTS, which is for sectors and authenticates nothing. It is no usage here.
//   - The suite had no MAC, though the key bundle spoke of a MAC key.
//   - The name "default" had no context. Here it has one, and what nobody classified counts as high.
//   - health-data has the name of the specification, health-records.
package classify
