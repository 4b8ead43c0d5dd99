package store

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Options say where etcd is and how it is to be entered. The errors name the
// flags of flanneld that set them.
type Options struct {
	Endpoints []string // URLs with http or https, all of one kind

	CertFile, KeyFile string // of the client, both or neither
	CAFile            string // "" for the system's authorities

	Username, Password string

	Timeout time.Duration // of one request, 0 for DefaultTimeout
}

// DefaultTimeout is longer than a cluster takes to elect a leader.
const DefaultTimeout = 5 * time.Second

// Complete checks the options and fills in what was left out.
func (o Options) Complete() (Options, error) {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return o, errors.New("--etcd-certfile and --etcd-keyfile belong together; only one of them is given")
	}
	return o, o.checkEndpoints()
}

func (o Options) checkEndpoints() error {
	if len(o.Endpoints) == 0 {
		return errors.New("--etcd-endpoints: no endpoint is given")
	}
	schemes := map[string]string{}
	for _, e := range o.Endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("--etcd-endpoints %q: wanted is a URL such as http://192.0.2.1:2379", e)
		}
		schemes[u.Scheme] = e
	}
	if len(schemes) > 1 {
		return fmt.Errorf("--etcd-endpoints: %s and %s: either all endpoints are https or none is", schemes["http"], schemes["https"])
	}
	return nil
}

// Secure reports whether the endpoints are https.
func (o Options) Secure() bool {
	return len(o.Endpoints) > 0 && strings.HasPrefix(o.Endpoints[0], "https://")
}
