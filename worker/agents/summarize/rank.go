package summarize

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"unicode"
)

// Parameters of the method.
const (
	damping      = 0.85
	minSimilar   = 0.05
	convergence  = 1e-6
	maxRounds    = 100
	checkContext = 64 // sentences between two looks at the context
)

// stopWords carry no topic. Words of other languages are damped by their idf.
var stopWords = set("a an and are as at be been but by can could did do does for from had has have he her him his how i if in into is it its " +
	"may me more most my no nor not of on one or our out over she should so some such than that the their them then there these they this those " +
	"to under up was we were what when where which who will with would you your")

// words are the lower-case words of a sentence that may carry its topic.
func words(s string) []string {
	all := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '\'' })
	return slices.DeleteFunc(all, func(w string) bool { return stopWords[w] || strings.Trim(w, "'") == "" })
}

// edge leads to another sentence.
type edge struct {
	to     int
	weight float64
}

// similarities builds the graph. An inverted index finds the pairs that share a
// word, so that sentences of different topics cost nothing.
func similarities(ctx context.Context, sentences []Sentence) ([][]edge, error) {
	type posting struct {
		sentence int
		weight   float64 // term frequency times idf
	}
	counts := make([]map[string]int, len(sentences))
	df := map[string]int{}
	for i, s := range sentences {
		counts[i] = map[string]int{}
		for _, w := range words(s.Text) {
			counts[i][w]++
		}
		for w := range counts[i] {
			df[w]++
		}
	}
	index := map[string][]posting{}
	norm := make([]float64, len(sentences))
	graph := make([][]edge, len(sentences))
	dot := make([]float64, len(sentences))
	for i := range sentences {
		if i%checkContext == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		terms := make([]string, 0, len(counts[i]))
		for w := range counts[i] {
			terms = append(terms, w)
		}
		slices.Sort(terms) // sums in one order: the same text, the same scores
		touched := []int{}
		for _, w := range terms {
			idf := math.Log(1 + float64(len(sentences))/float64(df[w]))
			weight := float64(counts[i][w]) * idf
			norm[i] += weight * weight
			for _, p := range index[w] {
				if dot[p.sentence] == 0 {
					touched = append(touched, p.sentence)
				}
				dot[p.sentence] += weight * p.weight
			}
			if df[w] > 1 {
				index[w] = append(index[w], posting{i, weight})
			}
		}
		slices.Sort(touched)
		for _, j := range touched {
			if similar := dot[j] / math.Sqrt(norm[i]*norm[j]); similar >= minSimilar {
				graph[i] = append(graph[i], edge{j, similar})
				graph[j] = append(graph[j], edge{i, similar})
			}
			dot[j] = 0
		}
	}
	return graph, nil
}

// rank is the stationary distribution of the walk over the graph. A sentence
// that resembles no other leads everywhere.
func rank(ctx context.Context, graph [][]edge) ([]float64, error) {
	n := float64(len(graph))
	out := make([]float64, len(graph))
	for i, edges := range graph {
		for _, e := range edges {
			out[i] += e.weight
		}
	}
	score, next := make([]float64, len(graph)), make([]float64, len(graph))
	for i := range score {
		score[i] = 1 / n
	}
	for range maxRounds {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var loose float64
		for i := range graph {
			if out[i] == 0 {
				loose += score[i]
			}
		}
		var moved float64
		for i, edges := range graph {
			var in float64
			for _, e := range edges {
				in += score[e.to] * e.weight / out[e.to]
			}
			next[i] = (1-damping)/n + damping*(in+loose/n)
			moved = max(moved, math.Abs(next[i]-score[i]))
		}
		score, next = next, score
		if moved < convergence {
			break
		}
	}
	return score, nil
}

// pick takes the n best sentences, in the order of the text.
func pick(sentences []Sentence, n int) []Sentence {
	best := append([]Sentence{}, sentences...)
	slices.SortStableFunc(best, func(a, b Sentence) int { return cmp.Compare(b.Score, a.Score) })
	best = best[:min(n, len(best))]
	slices.SortFunc(best, func(a, b Sentence) int { return cmp.Compare(a.Start, b.Start) })
	return best
}
