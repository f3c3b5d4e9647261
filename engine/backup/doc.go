// Package backup is what a backup is: its file, the places where it is kept, and which of them are kept for how long. It
// knows neither the state that it carries nor the token that the key comes from.
//
// A backup is one file. Sizes in bytes, integers big-endian, lp as in package lp:
//
//	file     = head || seal (61) || body || trailer (40)
//	head     = "cryptoserve-backup/1 " || length of manifest in decimal || "\n" || manifest
//	manifest = JSON, see Manifest: `head -n 20` of a file shows it
//	seal     = the empty string, sealed (package seal) with the associated data lp("cryptoserve/backup-manifest/1") || head
//	body     = a stream of frames (package seal) with the associated data lp("cryptoserve/backup/1") || SHA-256(head || seal)
//	trailer  = uint64 length of all before it || SHA-256 of all before it
//
// The key is derived from the master key with the info lp("cryptoserve/1/backup"), which names no cluster: a new cluster
// that has the master key opens the backups of the old one. The seal proves the manifest, the associated data of the body
// binds it to this manifest, and the frames prove order, end and content: an edit, a cut, a swap or the body of another
// backup is found and named. The trailer proves nothing against an attacker. It lets whoever has no key, the backup role
// and the operator of a store, find a copy that was damaged by accident: see Check.
//
// Everything is approved in FIPS mode: HKDF-SHA256 and AES-256-GCM with random nonces made by the module.
package backup
