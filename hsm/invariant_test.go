package hsm

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"cryptoserve/hsm/internal/p11"
)

// Each call of the seam fails in each class of ways, while every operation runs; then neither the log nor an error may
// hold the PIN or a derived key.
func TestInvariant07NoSecretInErrorsOrLog(t *testing.T) {
	r := newToken(t)
	pub, blob, err := r.GenerateWrapped(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := r.mustExpand(t)
	var said strings.Builder
	calls := []string{
		"C_GetTokenInfo", "C_OpenSession", "C_FindObjects", "C_GetAttributeValue", "C_CreateObject", "C_DestroyObject",
		"C_GenerateKeyPair", "C_WrapKey", "C_UnwrapKey", "C_SignInit", "C_Sign", "C_GenerateRandom", "KeyPair", "KeyPair.Sign",
	}
	codes := []pkcs11.Error{
		pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_DEVICE_REMOVED,
	}
	r.run(t)
	errs := 0
	for _, call := range calls {
		for _, code := range codes {
			for name, f := range operations(r, r.NodeSigner(), r.WrappedSigner(pub, blob)) {
				r.faults.Set(call, p11.Fault{Err: code, Times: 2})
				if err := f(t.Context()); err != nil {
					errs++
					fmt.Fprintf(&said, "%s: %v %+v\n", name, err, err)
				}
				r.faults.Clear()
			}
			r.waitUp(t)
		}
	}
	if errs < len(calls)*len(codes) {
		t.Fatalf("only %d errors: the faults do not strike", errs)
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	all := append([]byte(said.String()), r.log.b.Bytes()...)
	for _, text := range []string{
		testPIN, testSOPIN, string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key),
		fmt.Sprintf("%d", key), fmt.Sprintf("%d", []byte(testPIN)),
	} {
		if bytes.Contains(all, []byte(text)) {
			t.Errorf("a secret of %d bytes is in an error or the log", len(text))
		}
	}
}
