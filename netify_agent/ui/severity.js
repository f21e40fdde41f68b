// nDPI's risk scores in words. A flow's score is the sum over its risks; nDPI gives a risk 10 (low), 50
// (medium), 100 (high), 150 (severe), 200 (critical) or 250 (emergency): ndpi_typedefs.h, ndpi_risk_severity.

/** The least score that is worth a look. */
export const HIGH = 100;

const LEVELS = [
  { least: HIGH, name: 'high', word: 'High' },
  { least: 50, name: 'medium', word: 'Medium' },
  { least: 1, name: 'low', word: 'Low' },
  { least: 0, name: 'none', word: 'None' },
];

/** The level of a score: `{name, word}`. */
export function severity(score) {
  return LEVELS.find((level) => score >= level.least);
}
