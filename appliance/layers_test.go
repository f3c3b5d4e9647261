package appliance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "cryptoserve"

// layer is the place of one package. It may import only packages of ours that stand above it in the table, and of those
// only what `only` lists, if it lists any, and nothing that `never` lists. Entries may end in "/..." for a folder and
// all below it.
type layer struct {
	path  string
	alone bool     // no package of ours at all
	std   bool     // no package of others either
	only  []string // if nil, everything above
	never []string
	tests bool // helpers of tests: may import everything in the table, and only tests may import them
}

// device and network are what the service in the middle must not know.
var (
	device  = []string{"hsm/...", "softhsm/..."}
	network = []string{"cluster"} // cluster/command is a value, and allowed to the engine
	values  = []string{"engine/fault", "engine/secret", "engine/lp", "engine/algs", "engine/keys", "engine/classify", "engine/directory", "engine/seal"}
)

// layers is the order of the whole module. A new package must be placed here, and the place says what it may know.
var layers = []layer{
	// Words that everybody uses.
	{path: "engine/fault", alone: true, std: true},
	{path: "engine/secret", alone: true, std: true},
	{path: "engine/lp", alone: true, std: true},
	{path: "api/wire", alone: true, std: true},

	// Pure values and functions, each knowing those before it.
	{path: "engine/algs"},
	{path: "engine/keys", never: []string{"api/wire"}},
	{path: "engine/classify", only: []string{"engine/algs", "engine/fault", "engine/lp"}},
	{path: "engine/directory", never: []string{"api/wire"}},
	{path: "engine/rules", only: []string{"engine/algs", "engine/fault"}},
	{path: "engine/policy", never: []string{"api/wire"}},
	{path: "engine/limit", only: []string{"engine/fault"}},
	{path: "engine/hash", only: []string{"engine/algs", "engine/fault"}},
	{path: "engine/mac", only: []string{"engine/algs", "engine/fault"}},
	{path: "engine/kdf", only: []string{"engine/algs", "engine/fault"}},
	{path: "engine/password", only: []string{"engine/algs", "engine/fault", "engine/kdf"}},
	{path: "engine/signature", only: []string{"engine/algs", "engine/fault"}},
	{path: "engine/kem", only: []string{"engine/algs", "engine/fault", "engine/lp"}},
	{path: "engine/keyenc", only: []string{"engine/algs", "engine/fault"}},
	{path: "engine/keywrap", only: []string{"engine/algs", "engine/fault"}},
	{path: "engine/aead", only: []string{"engine/algs", "engine/fault"}},
	{path: "engine/envelope", never: []string{"api/wire"}},
	{path: "engine/stream", only: []string{"engine/algs", "engine/fault", "engine/lp"}},
	{path: "engine/seal", never: []string{"api/wire"}},
	{path: "engine/backup", only: []string{"engine/fault", "engine/secret", "engine/lp", "engine/seal"}},
	{path: "engine/audit", never: []string{"api/wire"}},
	{path: "engine/joincode", only: []string{"engine/directory", "engine/lp"}},
	{path: "cluster/command", never: []string{"api/wire"}},

	// The device.
	{path: "softhsm", alone: true},
	{path: "softhsm/cmd/softhsm-install", only: []string{"softhsm"}},
	{path: "hsm/internal/hkdf", alone: true},
	{path: "hsm/internal/p11", only: []string{"engine/fault", "engine/secret"}},
	{path: "hsm", only: []string{"engine/algs", "engine/fault", "engine/secret", "hsm/internal/..."}},

	// Replicated state.
	{path: "cluster/fence", alone: true},
	{path: "cluster/transport", alone: true, std: true},
	{path: "cluster", only: append([]string{"cluster/command", "cluster/fence", "cluster/transport"}, values...)},

	// The service, free of transport and device.
	{path: "engine/selftest", never: slices.Concat(device, network, []string{"api/..."})},
	{path: "engine", never: slices.Concat(device, network, []string{"api/..."})},

	// HTTP for programs.
	{path: "api/auth", never: append([]string{"cluster/..."}, device...)},
	{path: "api/signin", never: append([]string{"cluster/..."}, device...)},
	{path: "api", never: append([]string{"cluster/..."}, device...)},
	{path: "api/join", never: append([]string{"cluster/..."}, device...)},
	{path: "api/client", std: true, only: []string{"api/wire"}},

	// The product: the one place that knows all parts, and its programs.
	{path: "appliance", never: []string{"api/client"}},
	{path: "appliance/cmd/cryptoserved", only: []string{"appliance", "engine/audit", "engine/fault"}},

	// Programs around it, which know only the API.
	{path: "tools/cryptoserve", only: []string{"api/client", "api/wire", "engine/keywrap", "engine/algs", "engine/fault"}},
	{path: "tools/bench", only: []string{"api/client", "api/wire"}},
	{path: "tools/vectors", std: true},

	// Helpers of tests, and tests of the whole.
	{path: "engine/vectortest", tests: true},
	{path: "softhsm/softhsmtest", tests: true},
	{path: "hsm/hsmtest", tests: true},
	{path: "api/apitest", tests: true},
	{path: "api/signin/signintest", tests: true},
	{path: "cluster/clustertest", tests: true},
	{path: "appliance/clustertest", tests: true},
	{path: "appliance/systemtest", tests: true},
}

// owners says which folder alone may know a library, so that it can be exchanged there.
var owners = map[string]string{
	"github.com/miekg/pkcs11":             "hsm",
	"github.com/ThalesGroup/crypto11":     "hsm",
	"github.com/hashicorp/raft":           "cluster",
	"github.com/hashicorp/raft-boltdb/v2": "cluster",
	"github.com/hashicorp/go-memdb":       "cluster",
	"github.com/hashicorp/go-hclog":       "cluster",
	"go.etcd.io/bbolt":                    "cluster",
	"github.com/fxamacker/cbor/v2":        "cluster",
	"github.com/julienschmidt/httprouter": "api",
	"github.com/golang-jwt/jwt/v5":        "api/auth",
	"github.com/coreos/go-oidc/v3/oidc":   "api/signin",
	"golang.org/x/oauth2":                 "api/signin",
	"cel.dev/cel-go/cel":                  "engine/rules",
	"github.com/minio/minio-go/v7":        "engine/backup",
	"github.com/anishathalye/porcupine":   "appliance/clustertest",
}

// listed is what `go list -json` tells about a package. Imports are those of the program, not of its tests.
type listed struct {
	ImportPath string
	Doc        string
	Imports    []string
}

func TestLayers(t *testing.T) {
	rank := map[string]int{}
	for i, l := range layers {
		if _, twice := rank[l.path]; twice {
			t.Errorf("%s is in the table twice", l.path)
		}
		rank[l.path] = i
	}
	for _, p := range packages(t) {
		name := ours(p.ImportPath)
		i, placed := rank[name]
		if !placed {
			t.Errorf("package %q has no place in the layer order: add it to the table", name)
			continue
		}
		for _, imported := range p.Imports {
			if why := layers[i].refuses(imported, i, rank); why != "" {
				t.Errorf("%s must not import %s: %s", name, imported, why)
			}
		}
	}
}

// TestLayerRules shows that the check above finds what it is for.
func TestLayerRules(t *testing.T) {
	rank := map[string]int{}
	for i, l := range layers {
		rank[l.path] = i
	}
	tests := []struct {
		from, imported string
		refused        bool
	}{
		{"engine", "cryptoserve/hsm", true},
		{"engine", "cryptoserve/hsm/internal/p11", true},
		{"engine", "cryptoserve/cluster", true},
		{"engine", "cryptoserve/cluster/command", false},
		{"engine", "cryptoserve/api/wire", true},
		{"engine", "cryptoserve/api", true},
		{"api", "cryptoserve/engine", false},
		{"api", "cryptoserve/hsm", true},
		{"api", "cryptoserve/cluster/command", true},
		{"api", "cryptoserve/cluster", true},
		{"api", "cryptoserve/appliance", true},
		{"api/client", "cryptoserve/engine/fault", true},
		{"api/client", "github.com/spf13/cobra", true},
		{"api/client", "net/http", false},
		{"hsm", "cryptoserve/engine/keys", true},
		{"hsm", "cryptoserve/engine/secret", false},
		{"hsm", "github.com/miekg/pkcs11", false},
		{"hsm/internal/p11", "github.com/miekg/pkcs11", false},
		{"engine", "github.com/miekg/pkcs11", true},
		{"softhsm", "cryptoserve/engine/fault", true},
		{"cluster", "cryptoserve/engine", true},
		{"cluster", "cryptoserve/engine/audit", true},
		{"engine/fault", "cryptoserve/engine/secret", true},
		{"engine/algs", "cryptoserve/engine/keys", true},
		{"appliance", "cryptoserve/cluster", false},
		{"appliance", "github.com/hashicorp/raft", true},
		{"tools/cryptoserve", "cryptoserve/engine/keys", true},
		{"tools/cryptoserve", "cryptoserve/nowhere", true},
		{"appliance", "cryptoserve/softhsm/softhsmtest", true},
		{"appliance/systemtest", "cryptoserve/softhsm/softhsmtest", false},
	}
	for _, tt := range tests {
		t.Run(tt.from+" imports "+tt.imported, func(t *testing.T) {
			i := rank[tt.from]
			if why := layers[i].refuses(tt.imported, i, rank); (why != "") != tt.refused {
				t.Errorf("answer %q, want refused=%v", why, tt.refused)
			}
		})
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("package %s has no package comment: say in doc.go what it is for", p.ImportPath)
		}
	}
}

// refuses says why the package at place i must not import another one; empty if it may.
func (l layer) refuses(imported string, i int, rank map[string]int) string {
	if l.tests {
		return ""
	}
	if imported != module && !strings.HasPrefix(imported, module+"/") {
		switch owner, owned := owners[imported]; {
		case owned && !inFolder(l.path, owner+"/..."):
			return "only " + owner + " may know this library"
		case l.std && isLibrary(imported):
			return "it uses the standard library only"
		}
		return ""
	}
	name := ours(imported)
	place, placed := rank[name]
	switch {
	case !placed:
		return "that package has no place in the layer order"
	case layers[place].tests:
		return "it is for tests"
	case l.alone:
		return "it uses no package of ours"
	case place >= i:
		return "it stands lower in the layer order"
	case l.only != nil && !matches(name, l.only):
		return "it may use only " + strings.Join(l.only, ", ")
	case matches(name, l.never):
		return "it must not know that part"
	}
	return ""
}

func matches(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return inFolder(name, pattern) })
}

// inFolder reports whether a pattern, a path or a folder with "/...", stands for the package.
func inFolder(name, pattern string) bool {
	folder, whole := strings.CutSuffix(pattern, "/...")
	return name == folder || whole && strings.HasPrefix(name, folder+"/")
}

// ours returns a package's path below the module, "." for the module's own.
func ours(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// isLibrary reports whether a package comes from another module: the first element of its path then is a host's name.
func isLibrary(importPath string) bool {
	host, _, _ := strings.Cut(importPath, "/")
	return path.Ext(host) != ""
}

// packages lists all packages of the module.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Doc,Imports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) < len(layers)/2 {
		t.Fatalf("go list found %d packages; the table has %d", len(all), len(layers))
	}
	return all
}
