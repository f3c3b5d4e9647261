package api

import (
	"context"
	"net/http"
	"net/url"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
	"cryptoserve/engine/policy"
)

const (
	versionsPath = "/api/v1/key-versions"
	usagePath    = "/api/v1/key-usage"
)

// LifecycleEngine moves key versions through their life.
type LifecycleEngine interface {
	ContextVersions(ctx context.Context, call *engine.Call, name string) ([]engine.VersionInfo, error)
	KeyVersions(ctx context.Context, call *engine.Call, name string) ([]engine.VersionInfo, error)
	KeyUsage(ctx context.Context, call *engine.Call, contextName string) ([]engine.VersionInfo, error)
	SuspendVersion(ctx context.Context, call *engine.Call, keyID, reason string) (engine.VersionInfo, error)
	ResumeVersion(ctx context.Context, call *engine.Call, keyID, reason string) (engine.VersionInfo, error)
	DeactivateVersion(ctx context.Context, call *engine.Call, keyID, reason string) (engine.VersionInfo, error)
	CompromiseVersion(ctx context.Context, call *engine.Call, keyID, reason string) (engine.VersionInfo, error)
	DestroyVersion(ctx context.Context, call *engine.Call, keyID, reason string, waitDays *int) (engine.Destruction, error)
	CancelDestruction(ctx context.Context, call *engine.Call, keyID, reason string) (engine.VersionInfo, error)
	SetContextMinimum(ctx context.Context, call *engine.Call, name string, minimum uint32) error
	SetKeyMinimum(ctx context.Context, call *engine.Call, name string, minimum uint32) error
	SetKeyRotation(ctx context.Context, call *engine.Call, name string, days int) error
}

// lifecycleRoutes are its routes.
func lifecycleRoutes(l Limits) []route {
	list := func(path string, action policy.Action, handle func(*Server, *exchange) error) route {
		return route{method: http.MethodGet, path: path, action: action, access: subjects, timeout: l.ChangeTimeout, handle: handle}
	}
	change := func(method, path string, action policy.Action, handle func(*Server, *exchange) error) route {
		return route{
			method: method, path: path, action: action, access: subjects, bodyBytes: l.BodyBytes, timeout: l.ChangeTimeout, handle: handle,
		}
	}
	act := func(name string, action policy.Action, handle func(*Server, *exchange) error) route {
		return change(http.MethodPost, versionsPath+"/:version/"+name, action, handle)
	}
	usage := list(usagePath, policy.KeyUsage, (*Server).keyUsage)
	usage.query = true
	return []route{
		list(contextsPath+"/:context/versions", policy.ListVersions, (*Server).contextVersions),
		list(keysPath+"/:key/versions", policy.ListVersions, (*Server).keyVersions),
		usage,
		act("suspend", policy.SuspendVersion, versionChange(LifecycleEngine.SuspendVersion)),
		act("resume", policy.ResumeVersion, versionChange(LifecycleEngine.ResumeVersion)),
		act("deactivate", policy.DeactivateVersion, versionChange(LifecycleEngine.DeactivateVersion)),
		act("compromise", policy.CompromiseVersion, (*Server).compromiseVersion),
		act("destroy", policy.DestroyVersion, (*Server).destroyVersion),
		act("cancel-destroy", policy.CancelDestruction, versionChange(LifecycleEngine.CancelDestruction)),
		change(http.MethodPut, contextsPath+"/:context/minimum-version", policy.SetMinimumVersion, (*Server).contextMinimum),
		change(http.MethodPut, keysPath+"/:key/minimum-version", policy.SetMinimumVersion, (*Server).keyMinimum),
		change(http.MethodPut, keysPath+"/:key/rotation", policy.SetKeyRotation, (*Server).keyRotation),
	}
}

func (s *Server) contextVersions(x *exchange) error {
	list, err := s.config.Engine.ContextVersions(x.r.Context(), &x.call, x.params.ByName("context"))
	return x.answerVersions(list, err)
}

func (s *Server) keyVersions(x *exchange) error {
	list, err := s.config.Engine.KeyVersions(x.r.Context(), &x.call, x.params.ByName("key"))
	return x.answerVersions(list, err)
}

// keyUsage takes the query context=NAME, or none.
func (s *Server) keyUsage(x *exchange) error {
	name := ""
	if query := x.r.URL.RawQuery; query != "" {
		values, err := url.ParseQuery(query)
		given := values["context"]
		if err != nil || len(values) != 1 || len(given) != 1 || given[0] == "" {
			return malformedQuery("context=NAME and nothing else")
		}
		name = given[0]
	}
	list, err := s.config.Engine.KeyUsage(x.r.Context(), &x.call, name)
	return x.answerVersions(list, err)
}

// versionChange is the handler of an act that may have a reason. It takes an empty body as it takes an empty object.
func versionChange(
	act func(LifecycleEngine, context.Context, *engine.Call, string, string) (engine.VersionInfo, error),
) func(*Server, *exchange) error {
	return func(s *Server, x *exchange) error {
		var in wire.VersionChangeRequest
		if len(x.body) > 0 {
			if err := x.json.into(x.body, &in); err != nil {
				return err
			}
		}
		info, err := act(s.config.Engine, x.r.Context(), &x.call, x.params.ByName("version"), in.Reason)
		return x.answerVersion(&info, err)
	}
}

func (s *Server) compromiseVersion(x *exchange) error {
	var in wire.CompromiseRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	info, err := s.config.Engine.CompromiseVersion(x.r.Context(), &x.call, x.params.ByName("version"), in.Reason)
	return x.answerVersion(&info, err)
}

func (s *Server) destroyVersion(x *exchange) error {
	var in wire.DestroyRequest
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	out, err := s.config.Engine.DestroyVersion(x.r.Context(), &x.call, x.params.ByName("version"), in.Reason, in.WaitDays)
	switch {
	case err != nil:
		return err
	case out.Approval != nil:
		return x.waits(out.Approval)
	}
	answer := wire.DestroyResponse{Version: wireVersion(&out.Version), Warnings: out.Warnings}
	if answer.Warnings == nil {
		answer.Warnings = []string{}
	}
	return x.answer(answer)
}

func (s *Server) contextMinimum(x *exchange) error {
	var in wire.MinimumVersion
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	if err := s.config.Engine.SetContextMinimum(x.r.Context(), &x.call, x.params.ByName("context"), in.Version); err != nil {
		return err
	}
	return x.answer(in)
}

func (s *Server) keyMinimum(x *exchange) error {
	var in wire.MinimumVersion
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	if err := s.config.Engine.SetKeyMinimum(x.r.Context(), &x.call, x.params.ByName("key"), in.Version); err != nil {
		return err
	}
	return x.answer(in)
}

func (s *Server) keyRotation(x *exchange) error {
	var in wire.KeyRotation
	if err := x.json.into(x.body, &in); err != nil {
		return err
	}
	if err := s.config.Engine.SetKeyRotation(x.r.Context(), &x.call, x.params.ByName("key"), in.Days); err != nil {
		return err
	}
	return x.answer(in)
}

func (x *exchange) answerVersions(list []engine.VersionInfo, err error) error {
	if err != nil {
		return err
	}
	answer := wire.VersionsResponse{Versions: make([]wire.Version, 0, len(list))}
	for i := range list {
		answer.Versions = append(answer.Versions, wireVersion(&list[i]))
	}
	return x.answer(answer)
}

func (x *exchange) answerVersion(info *engine.VersionInfo, err error) error {
	if err != nil {
		return err
	}
	return x.answer(wireVersion(info))
}

func wireVersion(info *engine.VersionInfo) wire.Version {
	v, u := info.Record, info.Usage
	return wire.Version{
		KeyID: v.ID, Version: v.Number, Context: v.Context, Key: v.Object, State: v.State.String(), Active: info.Active,
		Algorithm: string(v.Algorithm), Imported: v.Imported, CreatedAt: milliseconds(v.CreatedAt),
		DeactivatedAt: optionalTime(v.DeactivatedAt), DestroyAt: optionalTime(v.DestroyAt), DestroyedAt: optionalTime(v.DestroyedAt),
		Reason: v.Reason, Protected: u.Protected, Processed: u.Processed, LastProtectedAt: optionalTime(u.LastProtect),
		LastProcessedAt: optionalTime(u.LastProcess), Shreddable: info.Shreddable,
	}
}
