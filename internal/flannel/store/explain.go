package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Explain returns err, of a request that was not answered, with what each
// endpoint says to a plain request: the clients of etcd tell a dead endpoint,
// a wrong certificate and a lost leader from each other badly or not at all.
func (o Options) Explain(ctx context.Context, err error) error {
	cfg, tlsErr := o.TLS()
	if tlsErr != nil {
		return tlsErr
	}
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true},
		Timeout:   time.Second,
	}
	u := &Unreachable{Err: err}
	for _, endpoint := range o.Endpoints {
		if err := o.ask(ctx, client, endpoint); err != nil {
			u.Said = append(u.Said, endpoint+": "+o.reason(err))
			u.Certificate = u.Certificate || ofCertificate(err)
		}
	}
	if len(u.Said) == 0 {
		return fmt.Errorf("etcd is there but did not carry out a request, for want of a leader or of time: %w", err)
	}
	return u
}

// Unreachable is a request that failed because of what some or all endpoints say.
type Unreachable struct {
	Said        []string // a sentence for each endpoint that is in trouble
	Certificate bool     // one of them is about a certificate, which somebody has to replace
	Err         error
}

// Error names the endpoints.
func (u *Unreachable) Error() string { return "etcd does not answer: " + strings.Join(u.Said, "; ") }

// Unwrap returns the error of the request.
func (u *Unreachable) Unwrap() error { return u.Err }

// Certificate reports whether a request failed for a certificate.
func Certificate(err error) bool {
	var u *Unreachable
	return errors.As(err, &u) && u.Certificate
}

// ask returns what is wrong with an endpoint, nil if it answers.
func (o Options) ask(ctx context.Context, client *http.Client, endpoint string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(endpoint, "/")+"/version", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return inner(err)
	}
	return resp.Body.Close()
}

// inner leaves out the method and the URL, which the caller has named.
func inner(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}

// reason says what an error of a connection means for the flags.
func (o Options) reason(err error) string {
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return fmt.Sprintf("its certificate is signed by nobody in %s: %v%s", o.authoritiesName(), err, o.anotherAuthority())
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("its certificate has expired: %v", err)
	case alerted(err):
		return o.refusedCertificate(err)
	case errors.Is(err, io.EOF) && o.Secure():
		return "it ends the connection, as one does that speaks http, not https"
	case errors.Is(err, io.EOF):
		return "it ends the connection, as one does that wants https, not http"
	}
	return err.Error()
}

// alerted reports whether the other side ended a handshake, by an alert of TLS,
// whose type is not exported.
func alerted(err error) bool {
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error"
}

// ofCertificate reports whether a connection failed for a certificate, of
// either side.
func ofCertificate(err error) bool {
	var refused *tls.CertificateVerificationError
	return errors.As(err, &refused) || alerted(err)
}

func (o Options) authoritiesName() string {
	if o.CAFile == "" {
		return "the system's list of authorities; --etcd-cafile names another"
	}
	return "--etcd-cafile " + o.CAFile
}

func (o Options) anotherAuthority() string {
	if o.CAFile == "" {
		return ""
	}
	return "; the authority of etcd's own certificates belongs there, and is taken without a restart"
}

// refusedCertificate says why an endpoint ends the handshake.
func (o Options) refusedCertificate(err error) string {
	if o.CertFile == "" {
		return fmt.Sprintf("it wants a client certificate: give --etcd-certfile and --etcd-keyfile (%v)", err)
	}
	if until, expired := o.expired(); expired {
		return fmt.Sprintf("it refuses the client certificate %s, which expired on %s: %v; a new one in its place is taken without a restart",
			o.CertFile, until.UTC().Format("2006-01-02 15:04:05 MST"), err)
	}
	return fmt.Sprintf("it refuses the client certificate %s: %v; one of the authorities that etcd trusts has to sign it", o.CertFile, err)
}

func (o Options) expired() (until time.Time, expired bool) {
	cert, err := o.certificate()
	if err != nil || cert.Leaf == nil {
		return time.Time{}, false
	}
	return cert.Leaf.NotAfter, time.Now().After(cert.Leaf.NotAfter)
}
