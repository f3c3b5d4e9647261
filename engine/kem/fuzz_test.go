package kem

import (
	"bytes"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

// quick are the algorithms whose keys are made at once: a fuzzer starts many processes.
var quick = func() []algs.Name {
	var list []algs.Name
	for _, name := range all {
		if !isOAEP(name) || name == algs.RSAOAEP2048 {
			list = append(list, name)
		}
	}
	return list
}()

func pick(list []algs.Name, i uint8) algs.Name { return list[int(i)%len(list)] }

func callersFault(t *testing.T, err error) {
	t.Helper()
	switch fault.Of(err) {
	case fault.Malformed, fault.DecryptFailed, fault.TooLarge, fault.AlgorithmDisallowed:
	default:
		t.Fatalf("an error that is not the caller's: %v", err)
	}
}

func FuzzCheckPublic(f *testing.F) {
	for i, name := range quick {
		f.Add(uint8(i), keyPair(f, name).public)
		f.Add(uint8(i), make([]byte, len(keyPair(f, name).public)))
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		name := pick(quick, i)
		if err := CheckPublic(name, b); err != nil {
			callersFault(t, err)
			return
		}
		// What passes can be used, or is an X25519 key of low order.
		if ciphertext, err := Encrypt(name, b, []byte("hello"), nil, nil); err != nil {
			callersFault(t, err)
		} else if len(ciphertext) < 5 {
			t.Fatal("no ciphertext")
		}
		if _, _, err := Encapsulate(name, b); err != nil {
			callersFault(t, err)
		}
	})
}

func FuzzParsePrivate(f *testing.F) {
	for i, name := range quick {
		f.Add(uint8(i), keyPair(f, name).private)
		f.Add(uint8(i), make([]byte, len(keyPair(f, name).private)))
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		name := pick(quick, i)
		if key, err := ParseExpanded(name, b); err != nil {
			callersFault(t, err)
		} else if CheckPublic(name, key.Public()) != nil {
			t.Fatal("an expanded key with a bad public key was taken")
		}
		key, err := ParsePrivate(name, b)
		if err != nil {
			callersFault(t, err)
			return
		}
		if err := CheckPublic(name, key.Public()); err != nil {
			t.Fatal(err)
		}
		if row, _ := algs.Lookup(name); row.Class == algs.ClassPublicEncryption {
			ciphertext, err := Encrypt(name, key.Public(), []byte("hello"), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := key.Decrypt(ciphertext, nil, nil); err != nil || string(got) != "hello" {
				t.Fatalf("round trip: %v", err)
			}
		}
	})
}

func FuzzDecrypt(f *testing.F) {
	readers := make([]*PrivateKey, len(quick))
	for i, name := range quick {
		p := keyPair(f, name)
		readers[i] = mustPrivate(f, name, p.private)
		for _, writer := range quick {
			if ciphertext, err := Encrypt(writer, p.public, []byte("hello"), nil, []byte("aad")); err == nil {
				f.Add(uint8(i), ciphertext, []byte{}, []byte("aad"))
			}
			if ciphertext, _, err := Encapsulate(writer, p.public); err == nil {
				f.Add(uint8(i), ciphertext, []byte{}, []byte{})
			}
		}
		f.Add(uint8(i), p.public, []byte{}, []byte{})
	}
	f.Fuzz(func(t *testing.T, i uint8, ciphertext, info, aad []byte) {
		key := readers[int(i)%len(readers)]
		given := bytes.Clone(ciphertext)
		// Each worker has keys of its own, and nothing was encrypted under them: the fuzzer hands seeds from one to another, so
		// what opens is the seed's content.
		if plaintext, err := key.Decrypt(ciphertext, info, aad); err != nil {
			callersFault(t, err)
		} else if string(plaintext) != "hello" || string(aad) != "aad" || len(info) != 0 {
			t.Fatal("something opened that was never encrypted")
		}
		if secret, err := key.Decapsulate(ciphertext); err != nil {
			callersFault(t, err)
		} else if len(secret) != key.size.Secret {
			t.Fatalf("a secret of %d bytes", len(secret))
		}
		if secret, err := key.Agree(ciphertext); err != nil {
			callersFault(t, err)
		} else if len(secret) != key.size.Secret || zero(secret) {
			t.Fatalf("a secret of %d bytes", len(secret))
		}
		if point, err := ECIESEphemeral(key.name, ciphertext); err != nil {
			callersFault(t, err)
		} else if !bytes.HasPrefix(ciphertext, point) {
			t.Fatal("another ephemeral key")
		}
		if !bytes.Equal(given, ciphertext) {
			t.Fatal("the ciphertext was changed")
		}
	})
}

func FuzzImportPKCS8(f *testing.F) {
	for _, file := range []string{"openssl.json", "rfc9935.json"} {
		for _, k := range readTestdata[pkcs8File](f, file).Keys {
			for i, name := range quick {
				if name == k.Algorithm || k.Algorithm == "" && i == 0 {
					f.Add(uint8(i), []byte(k.PKCS8))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		name := pick(quick, i)
		public, private, err := ImportPKCS8(name, b)
		if err != nil {
			callersFault(t, err)
			return
		}
		if err := keyOf(name, private, public); err != nil {
			t.Fatal(err)
		}
	})
}
