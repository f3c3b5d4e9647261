package engine

import (
	"context"
	"errors"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// ContextSpec is what a context is to be. What is said in it counts; what is not follows from the layers, if there are any.
type ContextSpec struct {
	Name        string
	Description string
	// Algorithm may be empty: what the layers resolve to, else AES-256-GCM, or a true hybrid where quantum safety is asked for.
	Algorithm  algs.Name
	Format     uint8                // 0 means 4
	Derivation directory.Derivation // unknown means salted
	// The algorithm policy. Without bits and quantum safety in it, they are those of the layers that the own algorithm has.
	Enforcement    directory.Enforcement
	Allowed        []algs.Name
	Ciphers, Modes []string // in any case
	MinimumBits    uint16
	QuantumSafe    bool
	// RotationDays may be nil: as the layers ask, else never. 0 means never.
	RotationDays *uint16
	RotateAfter  uint64
	SelfService  bool
	Layers       *classify.Layers
	Consistency  directory.Consistency
}

// MaxRotationDays is the longest time between rotations of a context or a key object.
const MaxRotationDays = 3650

// DefaultContexts are the contexts that a new tenant may begin with: those of package classify. Developers can grant
// themselves the ones that hold nothing sensitive.
func DefaultContexts() []ContextSpec {
	var list []ContextSpec
	for _, d := range classify.Defaults() {
		layers := d.Layers
		list = append(list, ContextSpec{
			Name: d.Name, Description: d.Description, Layers: &layers,
			SelfService: d.Name == classify.DefaultName || d.Name == "general",
		})
	}
	return list
}

// CreateContext makes a context of the caller's tenant, with an active first key version.
func (e *Engine) CreateContext(ctx context.Context, c *Call, spec ContextSpec) (*directory.Context, error) {
	record := &directory.Context{
		Tenant: c.tenant(), Name: spec.Name, Derivation: spec.Derivation, Status: directory.Enabled, Versions: 1,
		CreatedAt: e.now().UnixMilli(),
	}
	if record.Derivation == directory.DerivationUnknown {
		record.Derivation = directory.Salted
	}
	return record, e.create(ctx, c, policy.CreateContext, spec.Name, func() (command.Command, error) {
		if err := e.fill(record, &spec); err != nil {
			return nil, err
		}
		if err := e.checkContext(record); err != nil {
			return nil, err
		}
		v, err := e.newVersion(ctx, record, 1)
		if err != nil {
			return nil, err
		}
		record.ActiveKey = v.ID
		return command.CreateContext{Context: *record, Version: *v}, nil
	})
}

// fill gives a record what a spec says, and what follows from its layers. Algorithm and format that the record has stay when
// the spec has none.
func (e *Engine) fill(record *directory.Context, spec *ContextSpec) error {
	record.Description, record.Enforcement, record.Allowed = spec.Description, spec.Enforcement, spec.Allowed
	record.MinimumBits, record.QuantumSafe = spec.MinimumBits, spec.QuantumSafe
	record.RotateAfter, record.SelfService, record.Layers = spec.RotateAfter, spec.SelfService, spec.Layers
	record.Consistency = spec.Consistency
	var err error
	if record.Ciphers, err = canonical("algorithm_policy.allowed_ciphers", spec.Ciphers, algs.ParseCipher); err != nil {
		return err
	}
	if record.Modes, err = canonical("algorithm_policy.allowed_modes", spec.Modes, algs.ParseCipherMode); err != nil {
		return err
	}
	if err := checkLayers(spec.Layers); err != nil {
		return err
	}
	resolved := derived(record)
	switch {
	case spec.Algorithm != "":
		record.Algorithm = spec.Algorithm
	case record.Algorithm != "":
	case resolved != nil:
		record.Algorithm = e.fips.Choose(resolved.Algorithm)
	case spec.QuantumSafe:
		record.Algorithm = e.fips.Choose(algs.X25519MLKEM768AES256GCM)
	default:
		record.Algorithm = algs.AES256GCM
	}
	switch {
	case spec.Format != 0:
		record.Format = spec.Format
	case record.Format == 0:
		record.Format = 4
	}
	if resolved != nil {
		demand(record, spec, resolved)
	}
	record.RotationDays = 0
	switch {
	case spec.RotationDays != nil:
		record.RotationDays = *spec.RotationDays
	case resolved != nil:
		record.RotationDays = uint16(resolved.KeyRotationDays) //nolint:gosec // a year at most
	}
	if record.RotationDays > MaxRotationDays {
		return malformedField("rotation_days", "is more than ten years")
	}
	return nil
}

// demand makes the strength that the layers ask for part of the algorithm policy, where that says nothing and the context's own
// algorithm has it: the bits of layers are those of the cipher, and a hybrid has fewer in its encapsulation.
func demand(record *directory.Context, spec *ContextSpec, resolved *classify.Derived) {
	own, _ := algs.Lookup(record.Algorithm)
	if spec.MinimumBits == 0 && own.SecurityBits >= resolved.MinimumSecurityBits {
		record.MinimumBits = resolved.MinimumSecurityBits
	}
	if own.QuantumSafe && resolved.QuantumResistant {
		record.QuantumSafe = true
	}
}

// canonical returns names as the table of algorithms writes them, each once.
func canonical(field string, names []string, parse func(string) (string, bool)) ([]string, error) {
	var list []string
	for _, name := range names {
		known, ok := parse(name)
		if !ok {
			return nil, malformedField(field, "lists what no algorithm here is made of")
		}
		list = joined(list, []string{known})
	}
	return list, nil
}

// checkLayers refuses layers that are not valid, and names the field by its place in the request.
func checkLayers(l *classify.Layers) error {
	if l == nil {
		return nil
	}
	err := l.Validate()
	var f *fault.Error
	if errors.As(err, &f) {
		named := *f
		named.Fields = nil
		for _, field := range f.Fields {
			named.Fields = append(named.Fields, fault.Field{Name: "layers." + field.Name, Detail: field.Detail})
		}
		return &named
	}
	return err
}

// checkContext refuses a context that cannot be, whose own algorithm its policy or the FIPS mode refuses, or that lists one
// that the FIPS mode refuses.
func (e *Engine) checkContext(record *directory.Context) error {
	if err := record.Validate(); err != nil {
		return fault.New(fault.Malformed, "engine.context", err.Error())
	}
	own, _ := algs.Lookup(record.Algorithm)
	if err := e.gate(own, algs.Protect); err != nil {
		return err
	}
	if _, allowed := policy.Algorithm(record, own); !allowed {
		return disallowed("the context's own algorithm does not meet what its policy asks for")
	}
	for _, name := range record.Allowed {
		row, _ := algs.Lookup(name)
		if err := e.gate(row, algs.Protect); err != nil {
			return err
		}
	}
	return nil
}
