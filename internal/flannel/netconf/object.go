package netconf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// member is one key of a JSON object with its value's text.
type member struct {
	name  string
	value []byte
}

// object takes a JSON object apart and keeps the order of its members, which
// decides between two of one name.
func object(text []byte) ([]member, error) {
	if err := json.Unmarshal(text, new(any)); err != nil {
		return nil, notJSON(text, err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("wanted is a JSON object, such as {\"Network\":\"10.42.0.0/16\"}, found %s", excerpt(text))
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		members = append(members, member{name.(string), value})
	}
	return members, nil
}

// notJSON says where the text goes wrong and, where it can be told, why: most
// broken configs were typed at a shell or copied from a document that had
// replaced their quotes.
func notJSON(text []byte, err error) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("the text is empty; wanted is JSON, such as {\"Network\":\"10.42.0.0/16\"}")
	}
	at := len(text)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset > 0 {
		at = int(syntax.Offset) - 1
	}
	where := fmt.Sprintf("byte %d, before %s", at+1, excerpt(text[min(at, len(text)):]))
	if at >= len(text)-1 && strings.Contains(err.Error(), "unexpected end") {
		where = "its end, which comes too soon, behind " + excerpt(text)
	}
	return fmt.Errorf("not JSON at %s%s", where, reason(text, at))
}

func reason(text []byte, at int) string {
	switch {
	case bytes.ContainsAny(text, "‘’“”„"):
		return `: it has typographic quotes (‘ ’ “ ”) where JSON wants "; type the command again with ' outside and " inside`
	case at > 0 && !bytes.ContainsRune(text, '"'):
		return `: names and texts have to stand in "; the shell takes them away unless the whole text stands in '`
	}
	return ""
}

// excerpt quotes the beginning of text with every byte that is no plain
// character written as an escape, so that what looks right can be seen to be wrong.
func excerpt(text []byte) string {
	const most = 24
	if len(text) <= most {
		return fmt.Sprintf("%+q", text)
	}
	return fmt.Sprintf("%+q…", text[:most])
}
