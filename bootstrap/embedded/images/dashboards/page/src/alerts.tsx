/** What Alertmanager holds: alerts, and the silences that keep them from being told. */
import {
  Button,
  Chip,
  Dialog,
  DialogActions,
  DialogContent,
  DialogTitle,
  Link,
  MenuItem,
  Alert as Message,
  Paper,
  Stack,
  TextField,
  Typography,
} from "@mui/material";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import * as alertmanager from "./alertmanager.ts";
import { Frame } from "./frame.tsx";
import { type Alert, inOrder, lineOf, linesFor, runbookOf, type Silence, silenceOf } from "./silence.ts";

const colors: Record<string, "error" | "warning" | "default"> = { critical: "error", warning: "warning" };
const hours: [number, string][] = [
  [1, "1 hour"],
  [4, "4 hours"],
  [24, "1 day"],
  [168, "1 week"],
];

// Until the page is left: nothing of it is kept in the browser.
let password = "";

const time = (text: string): string => new Date(text).toLocaleString();

export function Alerts() {
  const found = useQuery<Alert[], Error>(["alerts"], alertmanager.alerts, { refetchInterval: 10_000 });
  const silences = useQuery<Silence[], Error>(["silences"], alertmanager.silences, {
    refetchInterval: 10_000,
  });
  const [matchers, setMatchers] = useState<string | undefined>();
  const [ending, setEnding] = useState<Silence | undefined>();
  useEffect(() => {
    document.title = "Alerts";
  }, []);
  const failure = found.error ?? silences.error;
  return (
    <Frame>
      <main style={{ padding: "1em" }}>
        <Stack direction="row" spacing={2} sx={{ mb: 2, alignItems: "center" }}>
          <Typography variant="h1" sx={{ fontSize: "1.5rem", flexGrow: 1 }}>
            Alerts
          </Typography>
          <Button variant="outlined" onClick={() => setMatchers('alertname=""')}>
            New silence
          </Button>
        </Stack>
        {failure && (
          <Message severity="error" sx={{ mb: 2 }}>
            {failure.message}
          </Message>
        )}
        {found.isLoading && <p>Loading…</p>}
        {found.data?.length === 0 && <p>There is no alert.</p>}
        <List label="Alerts">
          {inOrder(found.data ?? []).map((alert) => (
            <AlertItem key={alert.fingerprint} alert={alert} onSilence={() => setMatchers(linesFor(alert))} />
          ))}
        </List>
        <Typography variant="h2" sx={{ fontSize: "1.25rem", mt: 4, mb: 2 }}>
          Silences
        </Typography>
        {silences.data?.length === 0 && <p>There is no silence.</p>}
        <List label="Silences">
          {(silences.data ?? []).map((silence) => (
            <SilenceItem key={silence.id} silence={silence} onEnd={() => setEnding(silence)} />
          ))}
        </List>
        {matchers !== undefined && <NewSilence matchers={matchers} onClose={() => setMatchers(undefined)} />}
        {ending && <EndSilence silence={ending} onClose={() => setEnding(undefined)} />}
      </main>
    </Frame>
  );
}

function List({ label, children }: { label: string; children: ReactNode }) {
  return (
    <ul
      aria-label={label}
      style={{ listStyle: "none", padding: 0, margin: 0, display: "grid", gap: "0.75em" }}
    >
      {children}
    </ul>
  );
}

function AlertItem({ alert, onSilence }: { alert: Alert; onSilence: () => void }) {
  const { labels, annotations, status, startsAt } = alert;
  const { alertname = "", severity = "none", ...others } = labels;
  const runbook = runbookOf(alert);
  const state =
    status.silencedBy.length > 0 ? "silenced" : status.inhibitedBy.length > 0 ? "inhibited" : "active";
  return (
    <Paper component="li" variant="outlined" sx={{ p: 2 }}>
      <Stack direction="row" spacing={1} sx={{ alignItems: "center" }}>
        <Chip size="small" label={severity} color={colors[severity] ?? "default"} />
        <Typography variant="h2" sx={{ fontSize: "1.1rem" }}>
          {alertname}
        </Typography>
        <Typography color="text.secondary" sx={{ flexGrow: 1 }}>
          {state}, since {time(startsAt)}
        </Typography>
        <Button size="small" onClick={onSilence} aria-label={`Silence ${alertname}`}>
          Silence
        </Button>
      </Stack>
      {["summary", "description"].map(
        (name) => annotations[name] && <Typography key={name}>{annotations[name]}</Typography>,
      )}
      {runbook && (
        <Typography>
          What to do:{" "}
          {runbook.href ? <Link href={runbook.href}>{runbook.text}</Link> : <code>{runbook.text}</code>}
        </Typography>
      )}
      <Labels texts={Object.entries(others).map(([name, value]) => `${name}=${value}`)} />
    </Paper>
  );
}

function Labels({ texts }: { texts: string[] }) {
  return (
    <Stack direction="row" sx={{ flexWrap: "wrap", gap: 0.5, mt: 1 }}>
      {texts.map((text) => (
        <Chip key={text} size="small" variant="outlined" label={text} />
      ))}
    </Stack>
  );
}

function SilenceItem({ silence, onEnd }: { silence: Silence; onEnd: () => void }) {
  return (
    <Paper component="li" variant="outlined" sx={{ p: 2 }}>
      <Stack direction="row" spacing={1} sx={{ alignItems: "center" }}>
        <Typography sx={{ flexGrow: 1 }}>
          {silence.comment} ({silence.createdBy}, {silence.status.state}, until {time(silence.endsAt)})
        </Typography>
        <Button size="small" onClick={onEnd} aria-label={`End the silence ${silence.comment}`}>
          End
        </Button>
      </Stack>
      <Labels texts={silence.matchers.map(lineOf)} />
    </Paper>
  );
}

/** A form that changes something: it asks for the password until one was right. */
function Change(props: {
  title: string;
  action: string;
  run: () => Promise<void>;
  onClose: () => void;
  children?: ReactNode;
}) {
  const queries = useQueryClient();
  const [asked] = useState(password === "");
  const { mutate, error, isLoading } = useMutation<void, Error>(props.run, {
    onSuccess: async () => {
      await queries.invalidateQueries(["silences"]);
      await queries.invalidateQueries(["alerts"]);
      props.onClose();
    },
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutate();
  };
  return (
    <Dialog open={true} onClose={props.onClose} fullWidth={true} aria-labelledby="change-title">
      <form onSubmit={submit}>
        <DialogTitle id="change-title">{props.title}</DialogTitle>
        <DialogContent>
          <Stack spacing={2} sx={{ pt: 1 }}>
            {props.children}
            {(asked || error) && (
              <TextField
                label="Password of the user admin"
                type="password"
                autoComplete="current-password"
                required={true}
                defaultValue={password}
                onChange={({ target }) => {
                  password = target.value;
                }}
                helperText="./deploy.sh prints the command that shows it."
              />
            )}
            {error && <Message severity="error">{error.message}</Message>}
          </Stack>
        </DialogContent>
        <DialogActions>
          <Button onClick={props.onClose}>Cancel</Button>
          <Button type="submit" variant="contained" disabled={isLoading}>
            {props.action}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

function NewSilence({ matchers, onClose }: { matchers: string; onClose: () => void }) {
  const [form, setForm] = useState({ matchers, hours: 1, by: "", why: "" });
  const field = (name: keyof typeof form, label: string) => ({
    label,
    required: true,
    value: form[name],
    onChange: ({ target }: { target: { value: string } }) =>
      setForm({ ...form, [name]: name === "hours" ? Number(target.value) : target.value }),
  });
  return (
    <Change
      title="New silence"
      action="Silence"
      run={async () => alertmanager.create(silenceOf(form), password)}
      onClose={onClose}
    >
      <TextField
        {...field("matchers", "Matchers")}
        multiline={true}
        minRows={3}
        helperText="One a line. Alerts are silenced that match all of them: leave out what may differ."
        slotProps={{ htmlInput: { spellCheck: false, style: { fontFamily: "monospace" } } }}
      />
      <TextField {...field("hours", "For")} select={true}>
        {hours.map(([count, text]) => (
          <MenuItem key={count} value={count}>
            {text}
          </MenuItem>
        ))}
      </TextField>
      <TextField {...field("by", "Your name")} />
      <TextField {...field("why", "Why")} />
    </Change>
  );
}

function EndSilence({ silence, onClose }: { silence: Silence; onClose: () => void }) {
  return (
    <Change
      title="End this silence?"
      action="End"
      run={() => alertmanager.end(silence.id, password)}
      onClose={onClose}
    >
      <Typography>{silence.comment}</Typography>
      <Labels texts={silence.matchers.map(lineOf)} />
    </Change>
  );
}
