// Risks in words. nDPI rates each risk; a flow's score is the sum over its risks: low counts 10, medium 50, high 100,
// severe 150.

/** The least score of a flow with high risk. */
export const HIGH = 100;
/** The least score of a flow with medium risk. */
export const MEDIUM = 50;

const LEVELS = [
  { least: HIGH, name: 'high', word: 'High' },
  { least: MEDIUM, name: 'medium', word: 'Medium' },
  { least: 1, name: 'low', word: 'Low' },
  { least: 0, name: 'none', word: 'None' },
];

/** The level of a flow's score: `{name, word}`. */
export function level(score) {
  return LEVELS.find((each) => score >= each.least);
}

const SEVERITIES = {
  severe: { rank: 4, name: 'high', word: 'Severe' },
  high: { rank: 3, name: 'high', word: 'High' },
  medium: { rank: 2, name: 'medium', word: 'Medium' },
  low: { rank: 1, name: 'low', word: 'Low' },
};

/** The severity of a single risk, by its word in the API: `{rank, name, word}`. */
export function severity(word) {
  return SEVERITIES[word] ?? { rank: 0, name: 'none', word: 'Unrated' };
}
