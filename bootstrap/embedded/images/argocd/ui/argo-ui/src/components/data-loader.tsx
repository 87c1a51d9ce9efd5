"use no memo";
import * as React from "react";
import { from, isObservable, type Observable, type Subscription } from "rxjs";
import { AppContextReact } from "../context";
import { ErrorNotification } from "./error-notification";
import { NotificationType } from "./notifications/notifications";

export interface DataLoaderRef<D> {
  getData(): D | undefined;
  reload(): any;
  setData(data: D): any;
}

interface LoaderProps<I, D> {
  load: (input: I) => Promise<D> | Observable<D> | D;
  input?: I;
  loadingRenderer?: React.ComponentType;
  errorRenderer?: (children: React.ReactNode) => React.ReactNode;
  noLoaderOnInputChange?: boolean;
  dataWrapper?: (data: D) => Promise<D> | Observable<D> | D;
  children: (data: D) => React.ReactNode;
}

interface State<D> {
  loading: boolean;
  data?: D;
  error: boolean;
  errorMessage: React.ReactNode;
}

const toObservable = <D,>(value: Promise<D> | Observable<D> | D): Observable<D> =>
  isObservable(value) ? value : from(Promise.resolve(value));

/** Loads what its children show, anew where the input changes; what fails is said on the page and in a notification. */
export class DataLoader<D = any, I = any> extends React.Component<LoaderProps<I, D>, State<D>> {
  static override contextType = AppContextReact;
  declare context: React.ContextType<typeof AppContextReact>;
  override state: State<D> = { loading: false, error: false, errorMessage: undefined };
  private subscription: Subscription | undefined;
  private unmounted = false;

  getData(): D | undefined {
    return this.state.data;
  }

  setData(data: D): void {
    this.setState({ data, loading: false, error: false });
  }

  reload(): void {
    this.load(false);
  }

  override componentDidMount(): void {
    // In development React mounts, unmounts and mounts again.
    this.unmounted = false;
    this.load(false);
  }

  override componentDidUpdate({ input }: LoaderProps<I, D>): void {
    if (JSON.stringify(input) !== JSON.stringify(this.props.input))
      this.load(!this.props.noLoaderOnInputChange);
  }

  override componentWillUnmount(): void {
    this.unmounted = true;
    this.subscription?.unsubscribe();
  }

  private load(forget: boolean): void {
    this.subscription?.unsubscribe();
    this.setState({ loading: true, error: false, ...(forget ? { data: undefined } : {}) });
    let loaded: Observable<D>;
    try {
      loaded = toObservable(this.props.load(this.props.input as I));
    } catch (error) {
      this.fail(error);
      return;
    }
    this.subscription = loaded.subscribe({
      next: (data) => this.setState({ loading: false, data, error: false }),
      error: (error) => this.fail(error),
    });
  }

  private fail(error: unknown): void {
    if (this.unmounted) return;
    const errorMessage = <ErrorNotification title="Unable to load data" e={error ?? {}} />;
    this.setState({ loading: false, error: true, errorMessage });
    // Whoever draws the error itself needs no second message.
    if (!this.props.errorRenderer)
      this.context?.apis.notifications.show({ content: errorMessage, type: NotificationType.Error });
  }

  override render(): React.ReactNode {
    const { data, error, errorMessage, loading } = this.state;
    const { errorRenderer, loadingRenderer: Loading, children } = this.props;
    if (error) {
      if (errorRenderer) return errorRenderer(errorMessage);
      return (
        <p style={{ padding: "1em" }}>
          Failed to load data, please <a onClick={() => this.load(true)}>try again</a>.
        </p>
      );
    }
    if (data !== undefined) return children(data);
    if (!loading) return null;
    return Loading ? <Loading /> : <p style={{ padding: "1em" }}>Loading...</p>;
  }
}
