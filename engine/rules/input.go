package rules

import (
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"cryptoserve/engine/algs"
)

// Input is what a rule sees of one operation: see the package comment for the values. A rule only reads it, so goroutines may
// share one.
type Input struct {
	Algorithm Algorithm
	Context   Context
	Identity  Identity
	Operation string    // the last word of the action
	Class     string    // "protect" or "process"
	Bytes     int64     // of the data
	Time      time.Time // of the operation
}

// Algorithm is what a rule sees of the algorithm that the operation uses.
type Algorithm struct {
	Name                 string
	KeyBits              int
	SecurityBits         int
	QuantumResistant     bool
	HardwareAcceleration bool
	Approved             bool
	Mode                 string
	Cipher               string
}

// Context is what a rule sees of the context.
type Context struct {
	Name                    string
	Sensitivity             string
	PII                     bool
	PHI                     bool
	PCI                     bool
	NotificationRequired    bool
	Frameworks              []string
	ProtectionLifetimeYears float64
	Frequency               string
	AuditLevel              string
}

// Identity is what a rule sees of the caller.
type Identity struct {
	ID          string
	Name        string
	Team        string
	Type        string // "application" or "user"
	Environment string
}

// AlgorithmOf returns what a rule sees of a row of the table.
func AlgorithmOf(row algs.Row) Algorithm {
	a := Algorithm{
		Name: string(row.Name), KeyBits: int(row.KeyBits), SecurityBits: int(row.SecurityBits),
		QuantumResistant: row.QuantumSafe, Approved: row.Approval == algs.Approved,
	}
	if row.Class == algs.ClassAEAD || row.Class == algs.ClassHybrid {
		a.Cipher, a.Mode = cipherOf(row.Name)
	}
	a.HardwareAcceleration = a.Cipher == "AES"
	return a
}

// modes are the endings of a cipher's name and the modes they stand for, the longest first.
var modes = []struct{ ending, mode string }{
	{"-GCM-SIV", "gcm-siv"}, {"-GCM", "gcm"}, {"-CCM", "ccm"}, {"-CTR", "ctr"}, {"-CBC", "cbc"}, {"-XTS", "xts"},
}

// cipherOf reads the symmetric part of a name: hybrids join it to the names of key encapsulations with "+".
func cipherOf(name algs.Name) (cipher, mode string) {
	for part := range strings.SplitSeq(string(name), "+") {
		switch {
		case part == string(algs.ChaCha20Poly1305):
			return "ChaCha20", "poly1305"
		case strings.HasPrefix(part, "AES-"):
			for _, m := range modes {
				if strings.HasSuffix(part, m.ending) {
					return "AES", m.mode
				}
			}
		}
	}
	return "", ""
}

// The longest inputs that the cost of a rule is estimated with. Longer ones are evaluated too, and only count as more.
const (
	nameSize       = 128 // characters of a string
	frameworkSize  = 32  // characters of a framework's name
	frameworkCount = 32
)

// variable is one name that a rule can use.
type variable struct {
	name string
	typ  *cel.Type
	get  func(*Input) ref.Val
}

// variables is the table of all of them.
var variables = []variable{
	text("algorithm.name", func(in *Input) string { return in.Algorithm.Name }),
	number("algorithm.key_bits", func(in *Input) int64 { return int64(in.Algorithm.KeyBits) }),
	number("algorithm.security_bits", func(in *Input) int64 { return int64(in.Algorithm.SecurityBits) }),
	flag("algorithm.quantum_resistant", func(in *Input) bool { return in.Algorithm.QuantumResistant }),
	flag("algorithm.hardware_acceleration", func(in *Input) bool { return in.Algorithm.HardwareAcceleration }),
	flag("algorithm.approved", func(in *Input) bool { return in.Algorithm.Approved }),
	text("algorithm.mode", func(in *Input) string { return in.Algorithm.Mode }),
	text("algorithm.cipher", func(in *Input) string { return in.Algorithm.Cipher }),

	text("context.name", func(in *Input) string { return in.Context.Name }),
	text("context.sensitivity", func(in *Input) string { return in.Context.Sensitivity }),
	flag("context.pii", func(in *Input) bool { return in.Context.PII }),
	flag("context.phi", func(in *Input) bool { return in.Context.PHI }),
	flag("context.pci", func(in *Input) bool { return in.Context.PCI }),
	flag("context.notification_required", func(in *Input) bool { return in.Context.NotificationRequired }),
	{frameworksName, cel.ListType(cel.StringType), func(in *Input) ref.Val {
		return types.NewStringList(types.DefaultTypeAdapter, in.Context.Frameworks)
	}},
	{"context.protection_lifetime_years", cel.DoubleType, func(in *Input) ref.Val {
		return types.Double(in.Context.ProtectionLifetimeYears)
	}},
	text("context.frequency", func(in *Input) string { return in.Context.Frequency }),
	text("context.audit_level", func(in *Input) string { return in.Context.AuditLevel }),

	text("identity.id", func(in *Input) string { return in.Identity.ID }),
	text("identity.name", func(in *Input) string { return in.Identity.Name }),
	text("identity.team", func(in *Input) string { return in.Identity.Team }),
	text("identity.type", func(in *Input) string { return in.Identity.Type }),
	text("identity.environment", func(in *Input) string { return in.Identity.Environment }),

	text("operation", func(in *Input) string { return in.Operation }),
	text("operation_class", func(in *Input) string { return in.Class }),
	number(sizeName, func(in *Input) int64 { return in.Bytes }),
	{nowName, cel.TimestampType, func(in *Input) ref.Val { return types.Timestamp{Time: in.Time.UTC()} }},
}

// The variables that the package knows by name.
const (
	frameworksName = "context.frameworks"
	sizeName       = "data.size"
	nowName        = "now"
)

var variableByName = func() map[string]*variable {
	m := make(map[string]*variable, len(variables))
	for i := range variables {
		m[variables[i].name] = &variables[i]
	}
	return m
}()

func text(name string, get func(*Input) string) variable {
	return variable{name, cel.StringType, func(in *Input) ref.Val { return types.String(get(in)) }}
}

func number(name string, get func(*Input) int64) variable {
	return variable{name, cel.IntType, func(in *Input) ref.Val { return types.Int(get(in)) }}
}

func flag(name string, get func(*Input) bool) variable {
	return variable{name, cel.BoolType, func(in *Input) ref.Val { return types.Bool(get(in)) }}
}

// fields returns the names that follow the first part of a variable's name, in the table's order; none if no variable has it.
func fields(root string) []string {
	var all []string
	for i := range variables {
		if field, ok := strings.CutPrefix(variables[i].name, root+"."); ok {
			all = append(all, field)
		}
	}
	return all
}

// activation is an Input as CEL reads it: each variable becomes a value when it is asked for, and no earlier.
type activation Input

var _ cel.Activation = (*activation)(nil)

// ResolveName returns the value of a variable.
func (a *activation) ResolveName(name string) (any, bool) {
	v, ok := variableByName[name]
	if !ok {
		return nil, false
	}
	return v.get((*Input)(a)), true
}

// Parent returns nil: there are no other variables.
func (*activation) Parent() cel.Activation { return nil }
