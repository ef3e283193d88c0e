/*-------------------------------------------------------------------------
 *
 * labels.h
 *	  which of some labels fits, by the probability of each whole label
 *
 * The model is asked for a JSON string, and each label is scored as the whole
 * beginning of one.  Where one label begins with another, all are scored up to
 * their closing quote, so that the short one has no advantage; that is one
 * token more for each.  The labels stand in the prompt in an order of their
 * own, so the order in which they are given does not matter.
 *
 * A model likes some labels before it has read anything.  So the same is asked
 * about texts that say nothing, and a label's score counts relative to its mean
 * there (contextual calibration, arXiv:2102.09690).  A statement asks that
 * once; later ones find nearly all of it in the engine's prefix cache.  It is
 * off by default: with the shipped model it mends some sets of labels and
 * spoils others (docs/performance.md).
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef LABELS_H
#define LABELS_H

#include "call.h"
#include "prompt.h"

typedef struct Labels
{
	int			n;				/* as given */
	struct wire_text *texts;
	int		   *place;			/* of each in the prompt: equal ones have the same */
	int			n_places;
	int		   *at;				/* of each place, one of the labels */
	bool		closed;			/* one begins with another: scored with the closing quote */
	int			n_neutral;		/* texts that say nothing, asked about behind the first question */
} Labels;

/* Sorts the labels and drops what is there twice. */
extern void labels_open(Labels *labels, struct wire_text *texts, int n);

/* ` "a", "b", "c"` */
extern void labels_append(const Labels *labels, StringInfo to);

/* Puts the question which one an answer to the prompt would be. */
extern void labels_ask(const Labels *labels, Call *call, struct wire_prompt *prompt);

/* And the same about texts that say nothing, if dsr1.calibrate is on. */
extern void labels_ask_neutral(Labels *labels, Call *call, const StringInfoData *task);

/* Probabilities of the labels as given, whose sum is 1 but for doubles. */
extern bool labels_answer(const Labels *labels, Call *call, float8 *probabilities);

/* Natural logarithms to probabilities, in place. */
extern void labels_normalise(double *scores, int n);

/* The index of the likeliest, the first in the prompt's order among equals. */
extern int	labels_best(const Labels *labels, const float8 *probabilities);

#endif							/* LABELS_H */
