package console

import (
	"strconv"
	"time"
)

// charts are those of the overview: each is a table that an island draws.
type charts struct{ Charts []chart }

type chart struct {
	ID, Title, Unit string
	Summary         string // what the curves say, in words
	Series          []string
	Rows            []chartRow
}

type chartRow struct {
	At     time.Time
	Values []string
}

// add puts a moment into the chart.
func (c *chart) add(at time.Time, values ...float64) {
	row := chartRow{At: at}
	for _, v := range values {
		row.Values = append(row.Values, strconv.FormatFloat(v, 'f', -1, 64))
	}
	c.Rows = append(c.Rows, row)
}

// historyOf is what the gateway has counted of the last minutes; nil: it does not count.
func historyOf(*visit) (*charts, error) { return nil, nil }

// flowsOf is who has called whom lately.
func flowsOf(*visit) ([]flow, error) { return nil, nil }
