package appliance_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// readings recompute the examples of the technical reference as a reader of it would: with the standard library alone, and
// nothing of the product. A reading stops by panic.
var readings = map[string]func(*example){
	"dek": func(e *example) {
		info := join(part("cryptoserve/1/dek"), part(e.text("tenant")), part(e.text("context")),
			uint32Bytes(e.number("version")), uint16Bytes(e.number("bits")), part(e.text("salt")))
		e.want("info", info)
		e.want("dek", expand(e.bytes("prk"), info, e.number("bits")/8))
	},
	"purpose": func(e *example) {
		info := part("cryptoserve/1/" + e.text("purpose"))
		if e.has("part") {
			info = append(info, part(e.text("part"))...)
		}
		e.want("info", info)
		e.want("key", expand(e.bytes("prk"), info, 32))
	},
	"check-value": func(e *example) { e.want("check-value", mac(e.bytes("key"), []byte("cryptoserve/kcv"))[:8]) },
	"sealed-key": func(e *example) {
		aad := join(part(e.text("tenant")), part(e.text("key-id")), uint32Bytes(e.number("version")), part(e.text("algorithm")))
		e.want("aad", aad)
		key := expand(e.bytes("key-seal"), join(part("cryptoserve/seal/1"), part(e.text("salt"))), 32)
		e.want("blob-key", key)
		sealed := gcm(key).Seal(nil, e.bytes("nonce"), e.bytes("private"), join([]byte{1}, aad))
		e.want("blob", join([]byte{1}, e.bytes("salt"), e.bytes("nonce"), sealed))
	},
	"format-4": readFormat4,
	"format-4-stream": func(e *example) {
		prefix, body, last := readStream(e)
		e.want("first-body-bytes", body[:72])
		e.want("last-segment", body[last:])
		e.want("length", fmt.Append(nil, len(prefix)+len(body)))
		sum := sha256.Sum256(join(prefix, body))
		e.want("sha256", sum[:])
	},
	"formats-1-to-3": readFormats1to3,
	"original-hybrid": func(e *example) {
		key := must(hkdf.Key(sha256.New, e.bytes("secret"), nil, "cryptoserve-hybrid-v1"+e.text("key-id"), 32))
		e.want("key", key)
		e.want("header", fmt.Appendf(nil, `{"v":1,"mode":"AES-256-GCM+ML-KEM-768","kid":"%s","nonce":"%s","kem_ct_len":%d}`,
			e.text("key-id"), base64Of(e.bytes("nonce")), e.number("kem-ciphertext-length")))
		e.want("end-of-body", gcm(key).Seal(nil, e.bytes("nonce"), e.bytes("plaintext"), e.bytes("aad")))
	},
	"legacy-derivation": func(e *example) {
		prk := must(hkdf.Extract(sha256.New, e.bytes("master"), e.bytes("salt")))
		e.want("prk", prk)
		info := fmt.Sprintf("%s:%s:v%d:sz%d", e.text("context"), e.text("tenant"), e.number("version"), e.number("bytes"))
		e.want("info", []byte(info))
		dek := expand(prk, []byte(info), e.number("bytes"))
		e.want("dek", dek)
		frame := e.bytes("frame")
		header, body := frame[2:2+int(binary.BigEndian.Uint16(frame))], frame[2+int(binary.BigEndian.Uint16(frame)):]
		if !bytes.Contains(header, []byte(`"kc":"`+base64Of(mac(dek, []byte("key-commitment-v1"))))) {
			panic("the frame has another commitment")
		}
		_, nonce, _ := strings.Cut(string(header), `"nonce":"`)
		plaintext := must(gcm(dek).Open(nil, must(base64.StdEncoding.DecodeString(nonce[:16])), body, e.bytes("aad")))
		e.want("plaintext", plaintext)
	},
	"hkdf": func(e *example) {
		e.want("output", must(hkdf.Key(sha256.New, e.bytes("secret"), e.bytes("salt"), e.text("info"), e.number("bytes"))))
	},
	"kbkdf": func(e *example) {
		n := e.number("bytes")
		fixed := join(e.bytes("label"), []byte{0}, e.bytes("context"), uint32Bytes(8*n))
		e.want("fixed-input", fixed)
		var out []byte
		for i := 1; len(out) < n; i++ {
			out = append(out, mac(e.bytes("secret"), join(uint32Bytes(i), fixed))...)
		}
		e.want("output", out[:n])
	},
	"password-string": func(e *example) {
		hash := must(pbkdf2.Key(sha256.New, e.text("password"), e.bytes("salt"), e.number("iterations"), 32))
		e.want("hash", hash)
		b64 := base64.RawStdEncoding.EncodeToString
		e.want("phc", fmt.Appendf(nil, "$pbkdf2-sha256$i=%d$%s$%s", e.number("iterations"), b64(e.bytes("salt")), b64(hash)))
	},
	"kmac128": func(e *example) {
		key, n := e.bytes("key"), e.number("bytes")
		const rate = 168
		padded := join([]byte{1, rate}, leftEncode(8*len(key)), key)
		padded = append(padded, make([]byte, rate-len(padded)%rate)...)
		rightEncoded := leftEncode(8 * n)
		rightEncoded = append(rightEncoded[1:], rightEncoded[0])
		x := sha3.NewCSHAKE128([]byte("KMAC"), nil)
		for _, b := range [][]byte{padded, e.bytes("message"), rightEncoded} {
			must(x.Write(b))
		}
		tag := make([]byte, n)
		must(x.Read(tag))
		e.want("tag", tag)
	},
	"ecies": func(e *example) {
		ciphertext := e.bytes("ciphertext")
		ephemeral, nonce, sealed := ciphertext[:65], ciphertext[65:77], ciphertext[77:]
		private := must(ecdh.P256().NewPrivateKey(e.bytes("private")))
		e.want("public", private.PublicKey().Bytes())
		secret := must(private.ECDH(must(ecdh.P256().NewPublicKey(ephemeral))))
		info := join(part("cryptoserve/1/ecies"), part(e.text("algorithm")), part(string(ephemeral)), part(e.text("public")), part(e.text("info")))
		e.want("hkdf-info", info)
		key := must(hkdf.Key(sha256.New, secret, nil, string(info), 32))
		e.want("key", key)
		e.want("plaintext", must(gcm(key).Open(nil, nonce, sealed, e.bytes("aad"))))
	},
	"agreement": func(e *example) {
		private := must(ecdh.X25519().NewPrivateKey(e.bytes("private")))
		shared := must(private.ECDH(must(ecdh.X25519().NewPublicKey(e.bytes("peer")))))
		e.want("shared-secret", shared)
		e.want("key", must(hkdf.Key(sha256.New, shared, e.bytes("salt"), e.text("info"), e.number("bytes"))))
	},
	"hybrid-signature": func(e *example) {
		digest := sha512.Sum512(e.bytes("message"))
		signed := join([]byte("CompositeAlgorithmSignatures2025"), []byte("COMPSIG-MLDSA65-Ed25519-SHA512"),
			[]byte{byte(len(e.bytes("context")))}, e.bytes("context"), digest[:])
		e.want("signed-by-both", signed)
		key := ed25519.NewKeyFromSeed(e.bytes("ed25519-seed"))
		e.want("ed25519-public", key[32:])
		e.want("ed25519-half", ed25519.Sign(key, signed))
	},
	"jws": func(e *example) {
		b64 := base64.RawURLEncoding.EncodeToString
		if !strings.HasPrefix(e.text("header"), `{"alg":"EdDSA","kid":"`) {
			panic("another header")
		}
		header := b64(e.bytes("header"))
		signature := ed25519.Sign(ed25519.NewKeyFromSeed(e.bytes("ed25519-seed")), []byte(header+"."+b64(e.bytes("message"))))
		e.want("jws", []byte(header+".."+b64(signature)))
	},
	"audit-record": func(e *example) {
		line := e.text("line")
		sum := sha256.Sum256([]byte(line[:strings.LastIndex(line, `,"hash":`)]))
		e.want("hash", sum[:])
		if !strings.HasSuffix(line, `,"hash":"`+hex.EncodeToString(sum[:])+`"}`) {
			panic("the line ends with another hash")
		}
	},
}

func readFormat4(e *example) {
	root := "dek"
	info := join(part("cryptoserve/4"), part(e.text("algorithm")), part(e.text("salt")))
	length := ""
	if e.has("kem-ciphertext") {
		root = "secret"
		info = append(info, part(e.text("kem-ciphertext"))...)
		length = fmt.Sprintf(`"kem_ct_len":%d,`, len(e.bytes("kem-ciphertext")))
	}
	keyBytes := 32
	if e.text("algorithm") == "AES-256-CBC" {
		keyBytes = 64
	}
	e.want("info", info)
	okm := expand(e.bytes(root), info, keyBytes+32)
	e.want("okm", okm)
	header := fmt.Sprintf(`{"v":4,"ctx":"%s","kid":"%s","alg":"%s",%s"salt":"%s","kc":"%s"}`, e.text("context"), e.text("key-id"),
		e.text("algorithm"), length, base64Of(e.bytes("salt")), base64Of(okm[keyBytes:]))
	e.want("header", []byte(header))
	prefix := join(uint16Bytes(len(header)), []byte(header))
	associated, nonce := join(prefix, e.bytes("aad")), e.bytes("nonce")
	var body []byte
	if keyBytes == 32 {
		body = join(nonce, gcm(okm[:32]).Seal(nil, nonce, e.bytes("plaintext"), associated))
	} else {
		ciphertext := cbc(okm[:32], nonce, e.bytes("plaintext"))
		body = join(nonce, ciphertext, mac(okm[32:64], join(uint64Bytes(len(associated)), associated, nonce, ciphertext)))
	}
	e.want("frame", join(prefix, e.optional("kem-ciphertext"), body))
}

// readStream returns a stream and where its last segment begins in the body.
func readStream(e *example) (prefix, body []byte, last int) {
	okm := expand(e.bytes("dek"), join(part("cryptoserve/4"), part("AES-256-GCM"), part(e.text("salt"))), 64)
	header := fmt.Sprintf(`{"v":4,"ctx":"%s","kid":"%s","alg":"AES-256-GCM","salt":"%s","kc":"%s","seg":65536}`,
		e.text("context"), e.text("key-id"), base64Of(e.bytes("salt")), base64Of(okm[32:]))
	e.want("header", []byte(header))
	prefix = join(uint16Bytes(len(header)), []byte(header))
	key := must(hkdf.Key(sha256.New, okm[:32], e.bytes("stream-salt"), string(join(prefix, e.bytes("aad"))), 32))
	e.want("stream-key", key)
	body = join([]byte{40}, e.bytes("stream-salt"), e.bytes("nonce-prefix"))
	plaintext := make([]byte, e.number("plaintext-length"))
	for i := range plaintext {
		plaintext[i] = byte(i % 251)
	}
	for i := 0; ; i++ {
		n, final := min(len(plaintext), 65520), byte(0)
		if i == 0 {
			n = min(len(plaintext), 65480)
		}
		if n == len(plaintext) {
			final = 1
		}
		last = len(body)
		body = gcm(key).Seal(body, join(e.bytes("nonce-prefix"), uint32Bytes(i), []byte{final}), plaintext[:n], nil)
		plaintext = plaintext[n:]
		if final == 1 {
			return prefix, body, last
		}
	}
}

func readFormats1to3(e *example) {
	dek, nonce, format := e.bytes("dek"), e.bytes("nonce"), e.number("format")
	header := fmt.Sprintf(`{"v":%d,"ctx":"%s","kid":"%s","alg":"%s"`, format, e.text("context"), e.text("key-id"), e.text("algorithm"))
	mode := "gcm"
	if format > 1 {
		mode = e.text("mode")
		header += fmt.Sprintf(`,"mode":"%s"`, mode)
	}
	header += fmt.Sprintf(`,"nonce":"%s"`, base64Of(nonce))
	if format == 3 {
		commitment := mac(dek, []byte("key-commitment-v1"))
		e.want("commitment", commitment)
		header += fmt.Sprintf(`,"kc":"%s","aad":%v`, base64Of(commitment), e.has("aad"))
	}
	header += "}"
	e.want("header", []byte(header))
	if !strings.HasPrefix(e.text("algorithm"), "AES-256-"+strings.ToUpper(mode)) {
		panic("mode and algorithm do not belong together")
	}
	var body []byte
	if mode == "gcm" {
		body = gcm(dek).Seal(nil, nonce, e.bytes("plaintext"), e.optional("aad"))
	} else {
		enc := must(hkdf.Key(sha256.New, dek, []byte("crypto-serve-v1"), "encryption", 32))
		auth := must(hkdf.Key(sha256.New, dek, []byte("crypto-serve-v1"), "authentication", 32))
		e.want("split-keys", join(enc, auth))
		ciphertext := cbc(enc, nonce, e.bytes("plaintext"))
		body = join(ciphertext, mac(auth, join(nonce, ciphertext)))
	}
	e.want("frame", join(uint16Bytes(len(header)), []byte(header), body))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// part is lp of the document: a two-byte length and the bytes.
func part(s string) []byte { return append(uint16Bytes(len(s)), s...) }

func uint16Bytes(n int) []byte { return []byte{byte(n >> 8), byte(n)} }

func uint32Bytes(n int) []byte { return append(uint16Bytes(n>>16), uint16Bytes(n)...) }

func uint64Bytes(n int) []byte { return append(uint32Bytes(n>>32), uint32Bytes(n)...) }

// leftEncode is left_encode of SP 800-185 for numbers of one or two bytes.
func leftEncode(n int) []byte {
	if n < 256 {
		return []byte{1, byte(n)}
	}
	return append([]byte{2}, uint16Bytes(n)...)
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func expand(prk, info []byte, n int) []byte {
	return must(hkdf.Expand(sha256.New, prk, string(info), n))
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	must(h.Write(message))
	return h.Sum(nil)
}

func gcm(key []byte) cipher.AEAD { return must(cipher.NewGCM(must(aes.NewCipher(key)))) }

// cbc pads as PKCS#7 does and encrypts.
func cbc(key, iv, plaintext []byte) []byte {
	n := 16 - len(plaintext)%16
	padded := append(bytes.Clone(plaintext), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(must(aes.NewCipher(key)), iv).CryptBlocks(padded, padded)
	return padded
}
