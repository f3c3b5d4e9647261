package join

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"cryptoserve/api"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// maxBody bounds a request, in bytes: one with an RSA-4096 key has about 2000.
const maxBody = 16 << 10

// timeout bounds the work of a request: it waits for the cluster.
const timeout = 10 * time.Second

// Engine is the cluster as the handler needs it. Each use case writes its own audit record. It is engine.Engine.
type Engine interface {
	RequestJoin(ctx context.Context, call *engine.Call, in *engine.JoinRequest) (*directory.Join, error)
	JoinStatus(ctx context.Context, call *engine.Call, id string, hash [32]byte) (*engine.JoinAnswer, error)
	CompleteJoin(ctx context.Context, call *engine.Call, in *engine.JoinProof) error
	// Refuse records a request that was refused before it reached a use case, and returns the error to answer with.
	Refuse(ctx context.Context, call *engine.Call, action policy.Action, resource string, refusal error) error
}

// handler answers nodes that want to join. Goroutines share it.
type handler struct {
	engine Engine
	log    *slog.Logger
}

// Handler returns the handler for those who want to join; nil logs nothing.
func Handler(e Engine, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &handler{e, log}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/request", answering(h, policy.RequestJoin, h.request))
	mux.Handle("POST /v1/status", answering(h, policy.ReadJoin, h.status))
	mux.Handle("POST /v1/complete", answering(h, policy.CompleteJoin, h.complete))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, r, newCall(r), fault.New(fault.NotFound, "join.route", "there is no such route: a node that joins sends POST to "+
			"/v1/request, /v1/status and /v1/complete"))
	})
	return mux
}

func newCall(r *http.Request) *engine.Call {
	var id [8]byte
	rand.Read(id[:])
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return &engine.Call{RequestID: "join-" + hex.EncodeToString(id[:]), Source: host, Start: time.Now()}
}

// answering reads the body of a request, carries it out and writes the answer.
func answering[In, Out any](
	h *handler, action policy.Action, act func(context.Context, *engine.Call, *In) (Out, error),
) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := newCall(r)
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		var in In
		if err := read(w, r, &in); err != nil {
			h.fail(w, r, call, h.engine.Refuse(context.WithoutCancel(ctx), call, action, "", err))
			return
		}
		out, err := act(ctx, call, &in)
		if err != nil {
			h.fail(w, r, call, err)
			return
		}
		body, err := json.Marshal(out)
		if err != nil {
			h.fail(w, r, call, fault.Wrap(fault.Internal, "join.answer", "", err))
			return
		}
		h.write(w, r, call, http.StatusOK, "application/json", body)
	})
}

// read reads a body into a value. It refuses unknown and repeated members, other letter case and trailing data.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" || r.URL.RawQuery != "" {
		return fault.New(fault.Malformed, "join.body", "the body must be application/json, and there is no query")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	defer clear(body)
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return fault.New(fault.TooLarge, "join.body", "the body is longer than "+strconv.Itoa(maxBody)+" bytes")
	case err != nil:
		return fault.Wrap(fault.Malformed, "join.body", "the body cannot be read", err)
	}
	if err := json.Unmarshal(body, into, json.RejectUnknownMembers(true)); err != nil {
		// The error quotes what stands in the body, which has a secret.
		return fault.New(fault.Malformed, "join.body", "the body is not the JSON object that this route takes: "+
			"the nodes have programs of different versions, or this is no node")
	}
	return nil
}

func (h *handler) request(ctx context.Context, call *engine.Call, in *requestBody) (acceptedBody, error) {
	defer clear(in.Secret)
	j := directory.Join{
		Hash: hashOf(in.Secret), Node: in.Node, Name: in.Name, Address: in.Address, API: in.API, Method: directory.JoinMethod(in.Method),
		NodeKey: in.NodeKey, JoinKey: in.JoinKey, OAEP: in.OAEP, Check: in.Check.values(), CommandVersion: in.CommandVersion,
		Program: in.Program,
	}
	made, err := h.engine.RequestJoin(ctx, call, &engine.JoinRequest{Join: j, Signature: in.Signature})
	if err != nil {
		return acceptedBody{}, err
	}
	return acceptedBody{ID: made.ID, Fingerprint: directory.FormatFingerprint(made.Fingerprint())}, nil
}

func (h *handler) status(ctx context.Context, call *engine.Call, in *statusRequest) (statusBody, error) {
	defer clear(in.Secret)
	found, err := h.engine.JoinStatus(ctx, call, in.ID, hashOf(in.Secret))
	if err != nil {
		return statusBody{}, err
	}
	out := statusBody{State: found.Join.State.String()}
	if found.Cluster == nil {
		return out, nil
	}
	out.Approved = &approvedBody{
		ClusterID: found.Cluster.ID, CACertificate: found.Cluster.CACertificate, CAKey: found.Cluster.CAKey, Check: checkOf(&found.Check),
		Members: make([]memberBody, 0, len(found.Members)), CommandVersion: found.Cluster.Commands(),
	}
	if t := found.Join.Transfer; t != nil {
		out.Approved.Transfer = &transferBody{
			Master: t.Master, WrapPrivate: t.WrapPrivate, WrapSecret: t.WrapSecret, Check: checkOf(&t.Check), OAEP: t.OAEP,
		}
	}
	for _, m := range found.Members {
		out.Approved.Members = append(out.Approved.Members, memberBody{ID: m.ID, Address: m.Address, Key: m.Key[:]})
	}
	return out, nil
}

func (h *handler) complete(ctx context.Context, call *engine.Call, in *completeRequest) (struct{}, error) {
	defer clear(in.Secret)
	return struct{}{}, h.engine.CompleteJoin(ctx, call, &engine.JoinProof{
		ID: in.ID, Hash: hashOf(in.Secret), Check: in.Check.values(), Signature: in.Signature,
	})
}

// fail makes an error the answer, in the form of the API. The one difference: whoever joins shows a code and no token.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, call *engine.Call, err error) {
	p := api.ProblemOf(err)
	if p.Status == http.StatusUnauthorized {
		p.Title, p.Detail = "The invitation code does not hold", "the invitation code is unknown, used or over: ask for a new one"
	}
	p.RequestID, p.Instance = call.RequestID, "urn:cryptoserve:request:"+call.RequestID
	if wait := fault.RetryAfterOf(err); wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait-1)/time.Second)+1, 10))
	}
	body, merr := json.Marshal(p)
	if merr != nil {
		panic(merr) // a struct of strings, numbers and booleans
	}
	h.log.Log(r.Context(), levelOf(p.Status), "join refused", "path", r.URL.Path, "code", p.Code, "source", call.Source,
		"request", call.RequestID, "error", err)
	h.write(w, r, call, p.Status, "application/problem+json", body)
}

func levelOf(status int) slog.Level {
	if status >= http.StatusInternalServerError {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (h *handler) write(w http.ResponseWriter, r *http.Request, call *engine.Call, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Request-Id", call.RequestID)
	if receipt := call.Receipt.String(); receipt != "" {
		header.Set("Audit-Receipt", receipt)
	}
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil { //nolint:gosec // JSON that says it is, and nosniff
		h.log.Debug("the node that joins has gone", "path", r.URL.Path, "request", call.RequestID, "error", err)
	}
}
