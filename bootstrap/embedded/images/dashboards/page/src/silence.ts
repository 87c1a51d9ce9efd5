/** What the page of alerts reads of Alertmanager and sends to it, apart from how it is drawn. */

/** A condition on one label. */
export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual: boolean;
}

/** An alert as Alertmanager's API gives it. */
export interface Alert {
  fingerprint: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  startsAt: string;
  status: { state: string; silencedBy: string[]; inhibitedBy: string[] };
}

/** A silence as Alertmanager's API gives it. */
export interface Silence {
  id: string;
  status: { state: string };
  matchers: Matcher[];
  startsAt: string;
  endsAt: string;
  createdBy: string;
  comment: string;
}

const severities = ["critical", "warning", "info"];

const rank = ({ labels }: Alert): number => {
  const place = severities.indexOf(labels.severity ?? "");
  return place < 0 ? severities.length : place;
};

/** Alerts with the most severe first, then by name and time. */
export const inOrder = (alerts: Alert[]): Alert[] =>
  [...alerts].sort(
    (a, b) =>
      rank(a) - rank(b) ||
      (a.labels.alertname ?? "").localeCompare(b.labels.alertname ?? "") ||
      a.startsAt.localeCompare(b.startsAt),
  );

const operators: Record<string, Pick<Matcher, "isRegex" | "isEqual">> = {
  "=": { isRegex: false, isEqual: true },
  "!=": { isRegex: false, isEqual: false },
  "=~": { isRegex: true, isEqual: true },
  "!~": { isRegex: true, isEqual: false },
};

/** A matcher as a line: `name="value"`. A quote, a backslash or a new line in the value is escaped as in JSON. */
export function lineOf({ name, value, isRegex, isEqual }: Matcher): string {
  const found = Object.entries(operators).find(
    ([, kind]) => kind.isRegex === isRegex && kind.isEqual === isEqual,
  );
  return `${name}${found?.[0]}${JSON.stringify(value)}`;
}

/**
 * Reads matchers, one a line: a label, `=`, `!=`, `=~` or `!~`, and a value with quotes or without.
 * @throws Error that names the line that is none, or says that nothing is left to match by
 */
export function matchersOf(text: string): Matcher[] {
  const lines = text.split("\n").map((line) => line.trim());
  const matchers = lines.filter((line) => line !== "").map(matcherOf);
  if (matchers.every(takesNoValue))
    throw new Error('One line at least has to ask for a value, such as alertname="NAME".');
  return matchers;
}

/** True where a label that is not there matches: Alertmanager wants one matcher at least that is not like that. */
const takesNoValue = ({ value, isRegex, isEqual }: Matcher): boolean =>
  (isRegex ? matchesEmpty(value) : value === "") === isEqual;

function matchesEmpty(expression: string): boolean {
  try {
    return new RegExp(`^(?:${expression})$`).test("");
  } catch {
    // Go's regular expressions are others: Alertmanager says what it thinks of it.
    return false;
  }
}

function matcherOf(line: string): Matcher {
  const [, name, operator = "", value = ""] =
    /^([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*(.*)$/.exec(line) ?? [];
  const kind = operators[operator];
  if (name === undefined || kind === undefined) throw new Error(`This line is no matcher: ${line}`);
  return { name, value: unquoted(value, line), ...kind };
}

function unquoted(value: string, line: string): string {
  if (!value.startsWith('"')) return value;
  try {
    return JSON.parse(value) as string;
  } catch {
    throw new Error(`The quotes of this line do not end, or something stands behind them: ${line}`);
  }
}

/** The lines that silence one alert: all its labels. */
export const linesFor = ({ labels }: Alert): string =>
  Object.entries(labels)
    .sort(([a], [b]) => Number(b === "alertname") - Number(a === "alertname") || a.localeCompare(b))
    .map(([name, value]) => lineOf({ name, value, isRegex: false, isEqual: true }))
    .join("\n");

/** What is sent to have a silence, from now on for some hours. */
export function silenceOf(
  form: { matchers: string; hours: number; by: string; why: string },
  now = new Date(),
): Omit<Silence, "id" | "status"> {
  return {
    matchers: matchersOf(form.matchers),
    startsAt: now.toISOString(),
    endsAt: new Date(now.getTime() + form.hours * 3_600_000).toISOString(),
    createdBy: form.by,
    comment: form.why,
  };
}

/** Where an alert says what to do: an address to follow, or a file of the repository. */
export function runbookOf({ annotations }: Alert): { text: string; href?: string } | undefined {
  const text = annotations.runbook_url;
  if (!text) return undefined;
  return /^https?:\/\//.test(text) ? { text, href: text } : { text };
}
