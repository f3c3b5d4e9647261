package api

import "cryptoserve/api/wire"

func (s *Server) algorithms(x *exchange) error {
	list, err := s.config.Engine.Algorithms(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.AlgorithmsResponse{Algorithms: make([]wire.Algorithm, 0, len(list))}
	for i := range list {
		info := &list[i]
		row := &info.Row
		answer.Algorithms = append(answer.Algorithms, wire.Algorithm{
			Name: string(row.Name), Class: row.Class.String(), KeyBits: int(row.KeyBits), SecurityBits: int(row.SecurityBits),
			QuantumSafe: row.QuantumSafe, Source: row.Source, ApprovedAlgorithm: row.Approval.String(), RunsIn: row.Runs.String(),
			ValidatedModule: info.Validated, TokenKeys: info.Token, Protect: info.Protect, Process: info.Process,
			MaxPlaintext: row.MaxPlaintext,
		})
	}
	return x.answer(answer)
}

func (s *Server) fips(x *exchange) error {
	status, err := s.config.Engine.FIPS(x.r.Context(), &x.call)
	if err != nil {
		return err
	}
	answer := wire.FIPSResponse{
		Mode: status.Mode.String(), Module: status.Module, ModuleEnabled: status.ModuleEnabled, ModuleEnforced: status.Enforced,
		ValidatedModule: status.Validated, ApprovedAlgorithms: status.Approved, Algorithms: status.Total,
		OutsideModule: make([]string, 0, len(status.Outside)),
		Token:         tokenValidation,
	}
	for _, name := range status.Outside {
		answer.OutsideModule = append(answer.OutsideModule, string(name))
	}
	return x.answer(answer)
}

// tokenValidation is what can be said of the HSM: PKCS#11 has no question for it.
const tokenValidation = "the appliance cannot tell whether the HSM is a validated module; its maker's certificate and the " +
	"settings it asks for say so"
