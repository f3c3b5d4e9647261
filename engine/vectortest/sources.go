package vectortest

import (
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Hex is a byte string that a vector file writes in hex.
type Hex []byte

// UnmarshalText reads hex, in either case.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// Wycheproof reads a file of the Wycheproof project, such as aes_gcm_test.json, into what the caller needs of it. The
// project's package would embed all of its 100 MB.
func Wycheproof[T any](t testing.TB, name string) T {
	t.Helper()
	return Module[T](t, "github.com/c2sp/wycheproof", "testvectors_v1/"+name)
}

// Module reads a JSON file that a module of go.mod ships beside its code, such as the ACVP vectors in circl's testdata. A
// name that ends in .gz is unpacked.
func Module[T any](t testing.TB, module, name string) T {
	t.Helper()
	dir, err := moduleDir(module)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if !strings.HasSuffix(name, ".gz") {
		return decode[T](t, name, f)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return decode[T](t, name, z)
}

func decode[T any](t testing.TB, name string, text io.Reader) T {
	t.Helper()
	var v T
	if err := json.NewDecoder(text).Decode(&v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

var moduleDirs sync.Map // module -> folder

func moduleDir(module string) (string, error) {
	if dir, ok := moduleDirs.Load(module); ok {
		return dir.(string), nil
	}
	// In this version of the module, downloaded if need be and checked against go.sum.
	out, err := exec.Command("go", "mod", "download", "-json", module).Output() // #nosec G204 -- a module that a test names
	if err != nil {
		return "", fmt.Errorf("download %s: %w", module, err)
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal(out, &downloaded); err != nil {
		return "", err
	}
	moduleDirs.Store(module, downloaded.Dir)
	return downloaded.Dir, nil
}
