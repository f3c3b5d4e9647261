package aead

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Encrypt-then-MAC: the key is enc || mac, the mac key its last 32 bytes. What both algorithms share is sealMAC and openMAC;
// what they differ in is the cipher, and the associated data that formats 1 to 3 do not authenticate.

func sealCBC(dst, key, nonce, plaintext, associated []byte) ([]byte, error) {
	return sealMAC(dst, key, nonce, plaintext, boundMAC(macKey(key), associated), encryptCBC)
}

func openCBC(dst, key, sealed, associated []byte) ([]byte, error) {
	return openMAC(dst, key, sealed, blockBytes, boundMAC(macKey(key), associated), decryptCBC)
}

func sealCTR(dst, key, nonce, plaintext, associated []byte) ([]byte, error) {
	return sealMAC(dst, key, nonce, plaintext, boundMAC(macKey(key), associated), cryptCTR)
}

func openCTR(dst, key, sealed, associated []byte) ([]byte, error) {
	return openMAC(dst, key, sealed, nonceBytes, boundMAC(macKey(key), associated), cryptCTR)
}

func encKey(key []byte) []byte { return key[:len(key)-macBytes] }
func macKey(key []byte) []byte { return key[len(key)-macBytes:] }

// crypt appends the encryption, or the decryption, of in to dst.
type crypt func(dst, key, nonce, in []byte) ([]byte, error)

// sealMAC appends nonce || ciphertext || MAC over what mac has already seen, nonce and ciphertext.
func sealMAC(dst, key, nonce, plaintext []byte, mac hash.Hash, encrypt crypt) ([]byte, error) {
	start := len(dst)
	dst, err := encrypt(append(dst, nonce...), encKey(key), nonce, plaintext)
	if err != nil {
		return nil, err
	}
	mac.Write(dst[start:])
	return mac.Sum(dst), nil
}

// openMAC checks the MAC in constant time, then decrypts.
func openMAC(dst, key, sealed []byte, nonce int, mac hash.Hash, decrypt crypt) ([]byte, error) {
	if len(sealed) < nonce+macBytes {
		return nil, ErrOpen
	}
	message, tag := sealed[:len(sealed)-macBytes], sealed[len(sealed)-macBytes:]
	mac.Write(message)
	if !hmac.Equal(mac.Sum(nil), tag) {
		return nil, ErrOpen
	}
	return decrypt(dst, encKey(key), message[:nonce], message[nonce:])
}

// boundMAC returns HMAC-SHA256 that has seen uint64 big-endian length of associated || associated. The length keeps the
// associated data and the nonce apart.
func boundMAC(key, associated []byte) hash.Hash {
	h := hmac.New(sha256.New, key)
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(associated)))
	h.Write(length[:])
	h.Write(associated)
	return h
}

func encryptCBC(dst, key, iv, plaintext []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	start, pad := len(dst), blockBytes-len(plaintext)%blockBytes
	dst = append(dst, plaintext...)
	for range pad {
		dst = append(dst, byte(pad))
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(dst[start:], dst[start:])
	return dst, nil
}

// decryptCBC also removes the padding. It runs only on what a MAC has authenticated, so that the padding tells nothing to
// whoever has not the key.
func decryptCBC(dst, key, iv, ciphertext []byte) ([]byte, error) {
	if len(ciphertext) == 0 || len(ciphertext)%blockBytes != 0 {
		return nil, ErrOpen
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	dst = append(dst, ciphertext...)
	plaintext := dst[start:]
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plaintext, plaintext)
	pad := int(plaintext[len(plaintext)-1])
	if pad < 1 || pad > blockBytes || bytes.Count(plaintext[len(plaintext)-pad:], []byte{byte(pad)}) != pad {
		clear(plaintext)
		return nil, ErrOpen
	}
	return dst[:len(dst)-pad], nil
}

// cryptCTR encrypts and decrypts with the counter block nonce || uint32 from 0; a nonce of 16 bytes is the counter block
// itself. Messages are bounded so that 32 bits of counter suffice.
func cryptCTR(dst, key, nonce, in []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	var counter [blockBytes]byte
	copy(counter[:], nonce)
	start := len(dst)
	dst = append(dst, in...)
	cipher.NewCTR(block, counter[:]).XORKeyStream(dst[start:], dst[start:])
	return dst, nil
}
