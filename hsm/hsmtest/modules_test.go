package hsmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Other modules are tested as far as they are on the machine, and for derivation only. The suite that decides is
// SoftHSM2's. `go test -v -run 'TestNSS|TestOpencryptoki'` tells which were found and ran; without one its test has nothing
// to say.

// TestNSS runs on the soft token of NSS. It wants its configuration in pReserved of C_Initialize. The token used is its
// slot for generic operations, which has no login and keeps nothing.
func TestNSS(t *testing.T) {
	libraries := installed(t,
		"/usr/lib/*-linux-*/libsoftokn3.so", "/usr/lib/*-linux-*/nss/libsoftokn3.so", "/usr/lib64/libsoftokn3.so",
		"/usr/lib/libsoftokn3.so")
	var ran []string
	defer func() { tell(t, "NSS", libraries, ran) }()
	for _, library := range libraries {
		ran = append(ran, library)
		t.Run(library, func(t *testing.T) {
			Derive(t, Target{
				Module:     library,
				Parameters: fmt.Sprintf("configdir='sql:%s' certPrefix='' keyPrefix='' secmod='secmod.db' flags=", t.TempDir()),
				TokenLabel: "NSS Generic Crypto Services",
			})
		})
	}
}

// TestOpencryptoki runs on the token named by CRYPTOSERVE_TEST_OPENCRYPTOKI_LABEL and _PIN: opencryptoki serves tokens
// through a daemon that an operator sets up, so there is none to make here.
func TestOpencryptoki(t *testing.T) {
	label, pin := os.Getenv("CRYPTOSERVE_TEST_OPENCRYPTOKI_LABEL"), os.Getenv("CRYPTOSERVE_TEST_OPENCRYPTOKI_PIN")
	libraries := installed(t, "/usr/lib/*-linux-*/opencryptoki/libopencryptoki.so",
		"/usr/lib/*/opencryptoki/PKCS11_API.so", "/usr/lib64/opencryptoki/libopencryptoki.so")
	var ran []string
	defer func() { tell(t, "opencryptoki", libraries, ran) }()
	for _, library := range libraries {
		if label == "" {
			t.Logf("%s has no token for this test: name one in CRYPTOSERVE_TEST_OPENCRYPTOKI_LABEL", library)
			continue
		}
		ran = append(ran, library)
		t.Run(library, func(t *testing.T) { Derive(t, Target{Module: library, TokenLabel: label, PIN: pin}) })
	}
}

// tell logs which libraries of a module were found and which of them the test ran on.
func tell(tb testing.TB, module string, found, ran []string) {
	tb.Helper()
	if len(ran) == 0 {
		tb.Logf("%s: NOTHING RAN; libraries found: %q", module, found)
		return
	}
	tb.Logf("%s: libraries found: %q; ran on: %q", module, found, ran)
}

// installed returns the files that match, each real file once.
func installed(tb testing.TB, patterns ...string) []string {
	tb.Helper()
	var files []string
	seen := map[string]bool{}
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			tb.Fatal(err)
		}
		for _, file := range found {
			if real, err := filepath.EvalSymlinks(file); err == nil && !seen[real] {
				seen[real] = true
				files = append(files, file)
			}
		}
	}
	return files
}
