package engine

import (
	"context"
	"crypto/fips140"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// gate refuses what the FIPS mode does not allow. The library gates only its own module; the table gates everything.
func (e *Engine) gate(row algs.Row, use algs.Use) error {
	if e.fips.Allows(row, use) {
		return nil
	}
	return fault.New(fault.AlgorithmNotApproved, "engine.fips", string(row.Name)+" is not a FIPS-approved algorithm, and FIPS mode is enabled")
}

// lookup returns the row of an algorithm that a request names to protect with, of one of the classes, if the FIPS mode allows it.
func (e *Engine) lookup(name string, classes ...algs.Class) (algs.Row, error) {
	row, ok := algs.Of(algs.Name(name), classes...)
	if !ok || row.ReadOnly {
		return algs.Row{}, &fault.Error{
			Kind: fault.Malformed, Op: "engine.algorithm", Detail: "the algorithm is not known here",
			Fields: []fault.Field{{Name: "algorithm", Detail: "GET /api/v1/algorithms lists what there is"}},
		}
	}
	return row, e.gate(row, algs.Protect)
}

// warnings returns what the FIPS mode has to say about an algorithm that it lets pass.
func (e *Engine) warnings(row algs.Row) []string {
	if w := e.fips.Warning(row); w != "" {
		return []string{w}
	}
	return nil
}

// AlgorithmInfo is a row of the table and what the node's FIPS mode makes of it.
type AlgorithmInfo struct {
	Row       algs.Row
	Protect   bool // may be used to protect here
	Process   bool
	Validated bool // computed by a frozen version of the module in its FIPS mode
	// Token tells that keys of the algorithm can be made and used in the token.
	Token bool
}

// Algorithms lists every algorithm, in the table's order.
func (e *Engine) Algorithms(_ context.Context, c *Call) ([]AlgorithmInfo, error) {
	r := c.begin(policy.ListAlgorithms)
	err := e.authorizeFree(c, policy.ListAlgorithms)
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	status := e.fipsStatus()
	list := make([]AlgorithmInfo, 0, len(algs.Rows()))
	for _, row := range algs.Rows() {
		list = append(list, AlgorithmInfo{
			Row: row, Protect: !row.ReadOnly && e.fips.Allows(row, algs.Protect), Process: e.fips.Allows(row, algs.Process),
			Validated: row.Validated(status.ModuleEnabled, status.Module), Token: e.vault.Supports(row.Name) == nil,
		})
	}
	return list, nil
}

// FIPSStatus tells the FIPS mode and what is behind it. That an algorithm is approved says nothing about the module that
// computes it, and the other way round.
type FIPSStatus struct {
	Mode algs.Mode
	// Module is the version of the Go Cryptographic Module that the program was built with; "latest" is the source of the
	// toolchain, which no validation covers.
	Module string
	// ModuleEnabled tells that the module runs in its FIPS mode: its self-tests have passed and its random generator is
	// the approved one.
	ModuleEnabled bool
	// Enforced tells that the module itself refuses what is not approved (GODEBUG fips140=only).
	Enforced bool
	// Validated tells that the module is a frozen version made for validation, in its FIPS mode. Whether its certificate
	// is valid today is for the list of the CMVP to say.
	Validated bool
	// Approved and Total count the algorithms; Outside are the approved ones that the module does not compute.
	Approved, Total int
	Outside         []algs.Name
}

// FIPS reports the FIPS mode and what is behind it.
func (e *Engine) FIPS(_ context.Context, c *Call) (FIPSStatus, error) {
	r := c.begin(policy.ReadFIPS)
	err := e.authorizeFree(c, policy.ReadFIPS)
	if err := e.finish(c, &r, err); err != nil {
		return FIPSStatus{}, err
	}
	return e.fipsStatus(), nil
}

func (e *Engine) fipsStatus() FIPSStatus {
	s := FIPSStatus{
		Mode: e.fips, Module: fips140.Version(), ModuleEnabled: fips140.Enabled(), Enforced: fips140.Enforced(), Total: len(algs.Rows()),
	}
	s.Validated = s.ModuleEnabled && algs.FrozenModule(s.Module)
	for _, row := range algs.Rows() {
		if row.Approval == algs.NotApproved {
			continue
		}
		s.Approved++
		if row.Runs != algs.RunsModule {
			s.Outside = append(s.Outside, row.Name)
		}
	}
	return s
}
