package kem

import (
	"crypto/ecdh"
	"crypto/hpke"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

var schemes = map[algs.Name]scheme{
	algs.MLKEM512:  mlkem512Scheme,
	algs.MLKEM768:  mlkem768Scheme,
	algs.MLKEM1024: mlkem1024Scheme,
	algs.XWing:     xwingScheme,

	algs.AES256GCMMLKEM768:        mlkem768Scheme,
	algs.AES256GCMMLKEM1024:       mlkem1024Scheme,
	algs.ChaCha20Poly1305MLKEM768: mlkem768Scheme,
	algs.X25519MLKEM768AES256GCM:  xwingScheme,
	algs.P256MLKEM768AES256GCM: hpkeExport{
		hpkeKEM: kemMLKEM768P256, kdf: hpke.HKDFSHA256(), context: "cryptoserve/1/hybrid-context",
	},

	algs.X25519:   agreement{curveX25519},
	algs.ECDHP256: agreement{curveP256},
	algs.ECDHP384: agreement{curveP384},

	algs.HPKEX25519AES256GCM:        hpkeSuite{kemX25519, hpke.HKDFSHA256(), hpke.AES256GCM()},
	algs.HPKEX25519ChaCha20Poly1305: hpkeSuite{kemX25519, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()},
	algs.HPKEP256AES128GCM:          hpkeSuite{kemP256, hpke.HKDFSHA256(), hpke.AES128GCM()},
	algs.HPKEP256AES256GCM:          hpkeSuite{kemP256, hpke.HKDFSHA256(), hpke.AES256GCM()},
	algs.HPKEP384AES256GCM:          hpkeSuite{kemP384, hpke.HKDFSHA384(), hpke.AES256GCM()},
	algs.HPKEMLKEM768P256:           hpkeSuite{kemMLKEM768P256, hpke.HKDFSHA256(), hpke.AES256GCM()},
	algs.HPKEMLKEM768X25519:         hpkeSuite{kemMLKEM768X25519, hpke.HKDFSHA256(), hpke.AES256GCM()},

	algs.ECIESX25519: ecies{curveX25519, algs.ECIESX25519},
	algs.ECIESP256:   ecies{curveP256, algs.ECIESP256},
	algs.ECIESP384:   ecies{curveP384, algs.ECIESP384},

	algs.RSAOAEP2048: oaep{2048},
	algs.RSAOAEP3072: oaep{3072},
	algs.RSAOAEP4096: oaep{4096},
}

var (
	curveX25519 = curve{ecdh.X25519(), 32, 32, 32}
	curveP256   = curve{ecdh.P256(), 32, 65, 32}
	curveP384   = curve{ecdh.P384(), 48, 97, 48}

	kemX25519         = hpkeKEM{kem: hpke.DHKEM(ecdh.X25519()), private: 32, public: 32, enc: 32, x25519: true, curve: curveX25519}
	kemP256           = hpkeKEM{kem: hpke.DHKEM(ecdh.P256()), private: 32, public: 65, enc: 65, curve: curveP256}
	kemP384           = hpkeKEM{kem: hpke.DHKEM(ecdh.P384()), private: 48, public: 97, enc: 97, curve: curveP384}
	kemMLKEM768P256   = hpkeKEM{kem: hpke.MLKEM768P256(), private: 32, public: 1249, enc: 1153}
	kemMLKEM768X25519 = hpkeKEM{kem: hpke.MLKEM768X25519(), private: 32, public: 1216, enc: 1120, x25519: true, seedOID: oidXWing}
)

func lookup(op string, name algs.Name) (scheme, error) {
	s, ok := schemes[name]
	if !ok {
		return nil, malformed(op, "algorithm", "is not one of key encapsulation, key agreement or public-key encryption")
	}
	return s, nil
}

// lookupProtect is lookup for what protects, which read-only algorithms do not.
func lookupProtect(op string, name algs.Name) (scheme, error) {
	s, err := lookup(op, name)
	if err != nil {
		return nil, err
	}
	if row, ok := algs.Lookup(name); !ok || row.ReadOnly {
		return nil, fault.New(fault.AlgorithmDisallowed, op, "the algorithm only reads what an imported deployment has written")
	}
	return s, nil
}
