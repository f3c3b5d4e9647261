//go:build modules

package vectortest

// The vectors are read from the module's folder; this import keeps its version in go.mod.
import _ "github.com/c2sp/wycheproof"
