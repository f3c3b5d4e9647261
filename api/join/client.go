package join

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/wire"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// maxAnswer bounds an answer, in bytes: keys, certificate and members need a few thousand.
const maxAnswer = 1 << 20

// Client is how a new node asks the cluster. Goroutines share it.
type Client struct {
	// HTTP must know the cluster by the fingerprint of its CA: transport.JoinClient.
	HTTP *http.Client
	// Addresses are those of the invitation. When one does not answer the next is asked: asking the same twice does no harm.
	Addresses []string
}

// Request asks to join. Errors carry the kind that the cluster answered, such as fault.Unauthenticated for a code that does not
// hold; fault.Unavailable is that no node answers.
func (c *Client) Request(ctx context.Context, r Request) (Accepted, error) {
	var out acceptedBody
	err := c.call(ctx, "/v1/request", requestBody{
		Secret: r.Secret[:], Node: r.Node, Name: r.Name, Address: r.Address, API: r.API, Method: string(r.Method), NodeKey: r.NodeKey,
		JoinKey: r.JoinKey, OAEP: r.OAEP, Check: checkOf(&r.Check), CommandVersion: r.CommandVersion, Program: r.Program,
		Signature: r.Signature,
	}, &out)
	return Accepted(out), err
}

// Status asks what became of a request.
func (c *Client) Status(ctx context.Context, id string, secret Secret) (Status, error) {
	var in statusBody
	if err := c.call(ctx, "/v1/status", statusRequest{ID: id, Secret: secret[:]}, &in); err != nil {
		return Status{}, err
	}
	var out Status
	for s := directory.JoinWaiting; s <= directory.JoinDone; s++ {
		if s.String() == in.State {
			out.State = s
		}
	}
	approved := out.State == directory.JoinApproved || out.State == directory.JoinDone
	if out.State == directory.JoinUnknown || approved != (in.Approved != nil) {
		return Status{}, errAnswer
	}
	if !approved {
		return out, nil
	}
	a := in.Approved
	out.Approved = &Approved{
		ClusterID: a.ClusterID, CACertificate: a.CACertificate, CAKey: a.CAKey, Check: a.Check.values(), CommandVersion: a.CommandVersion,
	}
	if t := a.Transfer; t != nil {
		out.Approved.Transfer = &directory.KeyTransfer{
			Master: t.Master, WrapPrivate: t.WrapPrivate, WrapSecret: t.WrapSecret, Check: t.Check.values(), OAEP: t.OAEP,
		}
	}
	for _, m := range a.Members {
		if len(m.Key) != len(Member{}.Key) || !directory.ValidNodeID(m.ID) || !directory.ValidNodeAddress(m.Address) {
			return Status{}, errAnswer
		}
		out.Approved.Members = append(out.Approved.Members, Member{ID: m.ID, Address: m.Address, Key: [32]byte(m.Key)})
	}
	return out, nil
}

// Complete proves that the node's token has the keys. Then the node is a member. The same again is answered the same.
func (c *Client) Complete(ctx context.Context, id string, secret Secret, check directory.KeyCheckValues, node crypto.Signer) error {
	digest := directory.JoinCompleteDigest(id, &check)
	signature, err := node.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return fmt.Errorf("sign the proof: %w", err)
	}
	return c.call(ctx, "/v1/complete", completeRequest{ID: id, Secret: secret[:], Check: checkOf(&check), Signature: signature}, &struct{}{})
}

var errAnswer = fault.New(fault.Internal, "join.client", "the cluster answered something else than a node that joins expects: "+
	"use the program that the cluster has")

// call asks one node after the other until one answers for sure.
func (c *Client) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fault.Wrap(fault.Internal, "join.client", "the request cannot be written", err)
	}
	defer clear(body)
	if len(c.Addresses) == 0 {
		return fault.New(fault.Malformed, "join.client", "no address of the cluster is known")
	}
	var errs []error
	for _, address := range c.Addresses {
		err := c.ask(ctx, address, path, body, out)
		if err == nil || !fault.Of(err).Retryable() || fault.Of(err) == fault.RateLimited || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ask asks one node. It follows no redirect: the secret goes where the invitation says.
func (c *Client) ask(ctx context.Context, address, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+path, bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Malformed, "join.client", "the address "+address+" is not host:port")
	}
	req.Header.Set("Content-Type", "application/json")
	client := *c.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		kind := fault.Of(err) // that of the transport: it may know that this is not the cluster
		if kind == fault.Internal {
			kind = fault.Unavailable
		}
		return fault.Wrap(kind, "join.client", "the node at "+address+" does not answer", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or not worth keeping
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); {
	case err != nil:
		return fault.Wrap(fault.Unavailable, "join.client", "the node at "+address+" broke its answer off", err)
	case len(answer) > maxAnswer:
		return errAnswer
	case resp.StatusCode == http.StatusOK && media == "application/json":
		if err := json.Unmarshal(answer, out); err != nil {
			return errAnswer
		}
		return nil
	case media == "application/problem+json":
		return problem(address, resp, answer)
	default:
		return errAnswer
	}
}

// problem returns the error that an answer stands for.
func problem(address string, resp *http.Response, answer []byte) error {
	var p wire.Problem
	if err := json.Unmarshal(answer, &p); err != nil {
		return errAnswer
	}
	kind := fault.Internal
	for _, k := range fault.Kinds() {
		if k.Code() == p.Code {
			kind = k
		}
	}
	e := fault.New(kind, "join.client", "the node at "+address+" says: "+p.Detail)
	for _, f := range p.Errors {
		e.Fields = append(e.Fields, fault.Field{Name: f.Field, Detail: f.Detail})
		e.Detail += "; " + f.Field + ": " + f.Detail
	}
	e.Detail += " (request " + p.RequestID + ")"
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}
