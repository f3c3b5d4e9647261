package hsm

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

// Transfer is the keys of a cluster on their way from one token to another, each wrapped by RSA-OAEP without a label (RFC 8017
// section 7.1) for the key cs-join of the other one: 512 bytes each. A label would say which blob is which, and SoftHSM2 ignores
// labels: the key check values tell.
type Transfer struct {
	OAEPHash                        algs.Name // for MGF1, too
	Master, WrapPrivate, WrapSecret []byte
	KeyCheckValues                  KCVs
}

// joinPrefix begins the label of another token's join key in the token that wraps for it. The rest is the first 8 hex digits of
// the key's fingerprint.
const joinPrefix = LabelJoin + "-"

// JoinFingerprint is SHA-256 of a join key as in JoinKeys. JoinLabel is the label under which TransferKeys brings it in.
func JoinFingerprint(public []byte) [sha256.Size]byte { return sha256.Sum256(public) }

// JoinLabel returns the label of a join key with this fingerprint in the token that wraps for it.
func JoinLabel(fingerprint [sha256.Size]byte) string {
	return joinPrefix + hex.EncodeToString(fingerprint[:4])
}

// joinPublic is that key as an object. The security officer has to mark it, so it is modifiable; what may not change then is
// read back before it is used.
func joinPublic(pub *rsa.PublicKey) object {
	return object{class: pkcs11.CKO_PUBLIC_KEY, attributes: slices.Concat([]attribute{
		{"CKA_KEY_TYPE", pkcs11.CKA_KEY_TYPE, uint(pkcs11.CKK_RSA)},
		{"CKA_TOKEN", pkcs11.CKA_TOKEN, true},
		{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, false},
		{"CKA_MODIFIABLE", pkcs11.CKA_MODIFIABLE, true},
		{"CKA_COPYABLE", pkcs11.CKA_COPYABLE, false},
		{"CKA_MODULUS", pkcs11.CKA_MODULUS, pub.N.Bytes()},
		{"CKA_PUBLIC_EXPONENT", pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(pub.E)).Bytes()},
		{"CKA_ALLOWED_MECHANISMS", pkcs11.CKA_ALLOWED_MECHANISMS, p11.Mechanisms(pkcs11.CKM_RSA_PKCS_OAEP)},
	}, usages(publicUsages, pkcs11.CKA_WRAP))}
}

// trusted is the mark that lets a key wrap those of a cluster.
func trusted(is bool) attribute { return attribute{"CKA_TRUSTED", pkcs11.CKA_TRUSTED, is} }

// parseJoinKey reads the RSA-4096 key of another token. It refuses other sizes, exponents that FIPS 186-5 section 5.1 refuses,
// and a form that is not DER, which would have two fingerprints.
func parseJoinKey(op string, public []byte) (*rsa.PublicKey, error) {
	wrong := func(why string) error { return field(op, "join_key", "it is not an RSA-4096 public key: "+why) }
	key, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		return nil, wrong("it is no SubjectPublicKeyInfo")
	}
	pub, ok := key.(*rsa.PublicKey)
	switch {
	case !ok:
		return nil, wrong("it is of another algorithm")
	case pub.N.BitLen() != joinBits || pub.N.Bit(0) == 0:
		return nil, wrong("its modulus is not an odd number of 4096 bits")
	case pub.E < rsaExponent || pub.E > 1<<31-1 || pub.E%2 == 0:
		return nil, wrong("its public exponent is not an odd number from 65537 to 2^31")
	}
	if again, err := x509.MarshalPKIXPublicKey(pub); err != nil || !bytes.Equal(again, public) {
		return nil, wrong("it is not DER")
	}
	return pub, nil
}

// deleteTimeout bounds how long the end of a transfer waits for the token: the join key has to go even if the caller has gone.
const deleteTimeout = 30 * time.Second

// TransferKeys wraps the master key and the wrapping keys inside the token for the join key of another token. It brings that key
// in, has trust mark it as CKA_TRUSTED, which only the security officer can and not in this process (see Trust), wraps, and
// deletes it again whatever happened. Join keys that a crash left are deleted first. Who may join was decided before: trust is
// given the label only. With Config.AfterLogin no operation runs while trust does, and trust must not use the Token.
//
// oaepHash is that of JoinKeys. Where this token does not have it the next weaker one is used, which Transfer tells.
//
// fault.Malformed with the field join_key or oaep_hash. fault.Conflict when the token wraps the keys for a key that nobody trusts.
func (t *Token) TransferKeys(ctx context.Context, join []byte, oaepHash algs.Name,
	trust func(ctx context.Context, label string) error) (transfer Transfer, err error) {
	const op = "hsm.TransferKeys"
	pub, err := parseJoinKey(op, join)
	if err != nil {
		return Transfer{}, err
	}
	strongest := slices.IndexFunc(importOAEP, func(o *oaep) bool { return o.name == oaepHash })
	if strongest < 0 {
		return Transfer{}, field(op, "oaep_hash", "it is neither SHA-256 nor SHA-1")
	}
	// One at a time: the next one would take the join key of this one for a crashed one's.
	if err := t.lockKeygen(ctx, op); err != nil {
		return Transfer{}, err
	}
	defer t.unlockKeygen()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
		defer cancel()
		// The officer's login changed files of the token as ours does.
		if derr := errors.Join(t.deleteJoinKeys(ctx, op), t.keepFiles(op)); derr != nil {
			transfer, err = Transfer{}, errors.Join(err, derr)
		}
	}()
	label := JoinLabel(JoinFingerprint(join))
	if err := t.bringJoinKey(ctx, op, label, pub, importOAEP[strongest:]); err != nil {
		return Transfer{}, err
	}
	if err := t.whileQuiet(ctx, op, func() error { return trust(ctx, label) }); err != nil {
		return Transfer{}, fault.Wrap(fault.Of(err), op, "the security officer did not mark the join key as trusted, so no key left the "+
			"token", err)
	}
	err = t.do(ctx, op, func(s *session) error {
		transfer, err = t.wrapFor(op, s, label, pub, importOAEP[strongest:])
		return err
	})
	return transfer, err
}

// whileQuiet runs f, in which another process logs in to the token, without a session: that may take as long as it takes. But
// where logins rewrite files of this host (AfterLogin is set), nobody may read them meanwhile, so f runs while no call to the token
// does. SoftHSM2 otherwise answers some of them by CKR_GENERAL_ERROR, which counts as an outage.
func (t *Token) whileQuiet(ctx context.Context, op string, f func() error) error {
	if t.cfg.AfterLogin == nil {
		return f()
	}
	return t.exclusively(ctx, op, func([]*session) error { return f() })
}

// DeleteJoinKeys deletes the join keys of other tokens that a crash in TransferKeys left in this one. Until then, whoever has such
// a key and the PIN of this token could have the keys of the cluster. Of several nodes that share a token one at a time may use
// it or TransferKeys.
func (t *Token) DeleteJoinKeys(ctx context.Context) error {
	const op = "hsm.DeleteJoinKeys"
	if err := t.lockKeygen(ctx, op); err != nil {
		return err
	}
	defer t.unlockKeygen()
	return t.deleteJoinKeys(ctx, op)
}

func (t *Token) deleteJoinKeys(ctx context.Context, op string) error {
	err := t.do(ctx, op, func(s *session) error { return t.sweepJoinKeys(op, s) })
	if err != nil {
		return fault.Wrap(fault.Of(err), op, "a join key may be left in the token, and trusted; the next start or transfer deletes it, or "+
			"delete every object labelled "+joinPrefix+"... with the vendor's tool", err)
	}
	return nil
}

// sweepJoinKeys deletes every RSA public key in the token whose label is that of a join key.
func (t *Token) sweepJoinKeys(op string, s *session) error {
	found, err := t.module.Find(s.handle, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA)})
	if err == nil && len(found) == 0 {
		_, err = t.module.GetTokenInfo(t.slot)
	}
	if err != nil {
		return err
	}
	for _, h := range found {
		label, err := read(t.module, s, h, pkcs11.CKA_LABEL)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(label), joinPrefix) {
			if err := t.deleteLabel(s, string(label)); err != nil {
				return leftWith(op, string(label), err)
			}
		}
	}
	return nil
}

// bringJoinKey makes the join key an object of the token, and shows that the token wraps nothing for it yet.
func (t *Token) bringJoinKey(ctx context.Context, op, label string, pub *rsa.PublicKey, hashes []*oaep) error {
	o := joinPublic(pub)
	return t.do(ctx, op, func(s *session) error {
		keys, err := t.loaded(op)
		if err != nil {
			return err
		}
		if err := t.sweepJoinKeys(op, s); err != nil {
			return err
		}
		template, free, err := o.template(label)
		if err != nil {
			return err
		}
		defer free()
		h, err := t.module.CreateObject(s.handle, template)
		if err != nil {
			return err
		}
		if err := o.check(t.module, s, h, label); err != nil {
			return err
		}
		for _, hash := range hashes {
			_, err := t.module.WrapKey(s.handle, hash.mechanism(nil), h, keys.master)
			if err == nil {
				return fault.New(fault.Conflict, op, "the token wraps the master key for a key that its security officer does not trust; this "+
					"module does not keep to CKA_WRAP_WITH_TRUSTED and cannot protect keys that another token shall receive")
			}
			if classOf(err) != classRequest {
				return err
			}
		}
		return nil
	})
}

// wrapFor wraps the keys for the join key that was brought in, once it is what it was and is trusted.
func (t *Token) wrapFor(op string, s *session, label string, pub *rsa.PublicKey, hashes []*oaep) (transfer Transfer, err error) {
	keys, err := t.loaded(op)
	if err != nil {
		return transfer, err
	}
	found, err := t.findLabel(s, label)
	if err != nil {
		return transfer, err
	}
	if len(found) != 1 {
		return transfer, fault.New(fault.Conflict, op, fmt.Sprintf("the token has %d objects labelled %s where one belongs; try again",
			len(found), label))
	}
	o := joinPublic(pub)
	o.attributes = append(o.attributes, trusted(true))
	if err := o.check(t.module, s, found[0], label); err != nil {
		return transfer, err
	}
	wrap := func(hash *oaep, key pkcs11.ObjectHandle) []byte {
		if err != nil {
			return nil
		}
		var wrapped []byte
		wrapped, err = t.module.WrapKey(s.handle, hash.mechanism(nil), found[0], key)
		if err == nil && len(wrapped) != joinBits/8 {
			err = fmt.Errorf("the token wrapped to %d bytes, not %d", len(wrapped), joinBits/8)
		}
		return wrapped
	}
	for _, hash := range hashes {
		err = nil
		transfer = Transfer{hash.name, wrap(hash, keys.master), wrap(hash, keys.wrapPrivate), wrap(hash, keys.wrapSecret),
			keys.identity.kcvs()}
		if classOf(err) != classRequest { // else it does not have this hash
			break
		}
	}
	if err != nil {
		return Transfer{}, err
	}
	return transfer, nil
}
