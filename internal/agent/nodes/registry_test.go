package nodes

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// registry is a network's keys in etcd. A network has those of the newer interface.
type registry interface {
	configure(text string)     // once etcd is there
	create(name, value string) // makes a key that is not there yet, for a day
	leases() map[string]string // the subnets with their records
}

// day is how long leases are made for.
const day = 86400

// create does so in flannel's transaction.
func (w *network) create(name, value string) {
	w.t.Helper()
	kv := keyValue{Key: []byte(prefix + name), Value: []byte(value), Lease: w.grant(day)}
	var answer struct{ Succeeded bool }
	w.ask("kv/txn", map[string]any{
		"compare": []any{map[string]any{"key": kv.Key, "target": "VERSION", "result": "EQUAL", "version": "0"}},
		"success": []any{map[string]any{"requestPut": kv}},
	}, &answer)
	if !answer.Succeeded {
		w.t.Fatal(name, "is there already")
	}
}

// olderAPI is a network in etcd's older interface, below a prefix.
type olderAPI struct {
	*network
	prefix string // as /coreos.com/network/
}

func (w olderAPI) configure(text string) {
	w.t.Helper()
	eventually(w.t, func() error { return w.mk("config", url.Values{"value": {text}}) })
}

func (w olderAPI) create(name, value string) {
	w.t.Helper()
	check(w.t, w.mk(name, url.Values{"value": {value}, "ttl": {fmt.Sprint(day)}}))
}

// mk does what `etcdctl mk` does.
func (w olderAPI) mk(name string, form url.Values) error {
	req, err := http.NewRequest(http.MethodPut, w.key(name)+"?prevExist=false", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		said, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("etcd: %d %s", resp.StatusCode, said)
	}
	return nil
}

// key is where a key is had.
func (w olderAPI) key(name string) string {
	return w.store + "/v2/keys" + strings.TrimSuffix(w.prefix+name, "/")
}

func (w olderAPI) leases() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, k := range w.ls("subnets") {
		all[path.Base(k.Key)] = k.Value
	}
	return all
}

// olderKey is a key with its value, which a directory has not.
type olderKey struct{ Key, Value string }

// ls lists a directory, as `etcdctl ls` does.
func (w olderAPI) ls(directory string) []olderKey {
	w.t.Helper()
	resp, err := w.http.Get(w.key(directory))
	check(w.t, err)
	defer resp.Body.Close()
	var answer struct {
		Node struct{ Nodes []olderKey }
	}
	check(w.t, json.NewDecoder(resp.Body).Decode(&answer))
	return answer.Node.Nodes
}
