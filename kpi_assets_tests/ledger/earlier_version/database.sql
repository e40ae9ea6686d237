SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA builds;
CREATE SCHEMA marts;
CREATE SCHEMA ops;
CREATE SCHEMA raw;
CREATE SCHEMA stg;
SET default_tablespace = '';
CREATE TABLE raw.orders (
    load_date date,
    order_id integer,
    customer_id integer,
    product text,
    amount numeric(8,2)
)
PARTITION BY LIST (load_date);
ALTER TABLE raw.orders OWNER TO kpi_loader;
COMMENT ON TABLE raw.orders IS 'Orders as delivered.';
COMMENT ON COLUMN raw.orders.load_date IS 'Day on which the source files landed.';
COMMENT ON COLUMN raw.orders.order_id IS 'Order.';
COMMENT ON COLUMN raw.orders.customer_id IS 'Customer who ordered.';
COMMENT ON COLUMN raw.orders.product IS 'Name of the product.';
COMMENT ON COLUMN raw.orders.amount IS 'Price in euros; NULL if it is not known.';
SET default_table_access_method = heap;
CREATE TABLE builds.raw__orders__20250302__13 (
    load_date date DEFAULT '2025-03-02'::date,
    order_id integer,
    customer_id integer,
    product text,
    amount numeric(8,2),
    CONSTRAINT raw__orders__20250302__13_load_date_check CHECK (((load_date IS NOT NULL) AND (load_date = '2025-03-02'::date)))
);
ALTER TABLE builds.raw__orders__20250302__13 OWNER TO kpi_loader;
CREATE TABLE builds.raw__orders__20250303__42 (
    load_date date DEFAULT '2025-03-03'::date,
    order_id integer,
    customer_id integer,
    product text,
    amount numeric(8,2),
    CONSTRAINT raw__orders__20250303__42_load_date_check CHECK (((load_date IS NOT NULL) AND (load_date = '2025-03-03'::date)))
);
ALTER TABLE builds.raw__orders__20250303__42 OWNER TO kpi_loader;
CREATE TABLE builds.raw__orders__20250304__29 (
    load_date date DEFAULT '2025-03-04'::date,
    order_id integer,
    customer_id integer,
    product text,
    amount numeric(8,2),
    CONSTRAINT raw__orders__20250304__29_load_date_check CHECK (((load_date IS NOT NULL) AND (load_date = '2025-03-04'::date)))
)
WITH (autovacuum_enabled='false');
ALTER TABLE builds.raw__orders__20250304__29 OWNER TO kpi_loader;
CREATE TABLE builds.raw__orders__20250305__34 (
    load_date date DEFAULT '2025-03-05'::date,
    order_id integer,
    customer_id integer,
    product text,
    amount numeric(8,2),
    CONSTRAINT raw__orders__20250305__34_load_date_check CHECK (((load_date IS NOT NULL) AND (load_date = '2025-03-05'::date)))
);
ALTER TABLE builds.raw__orders__20250305__34 OWNER TO kpi_loader;
CREATE TABLE marts.kpi_products (
    load_date date,
    product text,
    orders bigint,
    average_price numeric,
    is_low_volume boolean
);
ALTER TABLE marts.kpi_products OWNER TO kpi_builder;
COMMENT ON TABLE marts.kpi_products IS 'Average price of each product on a day.';
COMMENT ON COLUMN marts.kpi_products.load_date IS 'Day on which the source files landed.';
COMMENT ON COLUMN marts.kpi_products.product IS 'Name of the product.';
COMMENT ON COLUMN marts.kpi_products.orders IS 'Number of orders.';
COMMENT ON COLUMN marts.kpi_products.average_price IS 'Average price in euros.';
COMMENT ON COLUMN marts.kpi_products.is_low_volume IS 'Whether orders is below 2 or unknown; the view for readers leaves it out.';
CREATE TABLE ops.publishes (
    publish_id bigint NOT NULL,
    asset text NOT NULL,
    load_date date NOT NULL,
    build_id bigint NOT NULL,
    run_id text NOT NULL,
    manifest_hash text NOT NULL,
    code_version text NOT NULL,
    rows bigint NOT NULL,
    checksum text NOT NULL,
    size_bytes bigint NOT NULL,
    inputs jsonb NOT NULL,
    published_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    superseded_at timestamp with time zone,
    dropped_at timestamp with time zone,
    columns jsonb,
    removed_at timestamp with time zone
);
COMMENT ON TABLE ops.publishes IS 'The publish ledger: one row for each time a build of a table and load_date became what readers see.';
COMMENT ON COLUMN ops.publishes.manifest_hash IS 'Of the S3 objects that the rows come from: a raw table''s own manifest, or the hash of all manifests upstream.';
COMMENT ON COLUMN ops.publishes.checksum IS 'Sum of the rows'' 64-bit hashes: equal tables have equal checksums in whatever order their rows lie.';
COMMENT ON COLUMN ops.publishes.inputs IS 'The publish_id of each table that was read.';
COMMENT ON COLUMN ops.publishes.dropped_at IS 'When retention dropped its rows, which a replay from S3 gives again; superseded_at is then the same.';
COMMENT ON COLUMN ops.publishes.columns IS 'The columns of its rows, in order, as [name, type]; NULL of what an earlier version of kpi_assets published.';
COMMENT ON COLUMN ops.publishes.removed_at IS 'When `kpi drop` removed the table with all its load_dates; superseded_at is then set too.';
CREATE VIEW ops.published AS
 SELECT publish_id,
    asset,
    load_date,
    build_id,
    run_id,
    manifest_hash,
    code_version,
    rows,
    checksum,
    size_bytes,
    inputs,
    published_at,
    columns
   FROM ops.publishes
  WHERE (superseded_at IS NULL);
COMMENT ON VIEW ops.published IS 'What readers see now.';
CREATE VIEW marts.kpi_products_latest AS
 SELECT load_date,
    product,
    orders,
    average_price
   FROM marts.kpi_products
  WHERE ((is_low_volume IS NOT TRUE) AND (load_date = ( SELECT max(p.load_date) AS max
           FROM ops.published p
          WHERE (p.asset = 'marts.kpi_products'::text))));
ALTER VIEW marts.kpi_products_latest OWNER TO kpi_builder;
CREATE TABLE marts.sales (
    load_date date,
    country text,
    orders bigint,
    revenue numeric
);
ALTER TABLE marts.sales OWNER TO kpi_builder;
COMMENT ON TABLE marts.sales IS 'Orders and revenue of each country in the last three days.';
COMMENT ON COLUMN marts.sales.load_date IS 'Day on which the source files landed.';
COMMENT ON COLUMN marts.sales.country IS 'Country of the customer.';
COMMENT ON COLUMN marts.sales.orders IS 'Number of orders.';
COMMENT ON COLUMN marts.sales.revenue IS 'Sum of their prices in euros.';
CREATE TABLE ops.alert_deliveries (
    alert_id bigint NOT NULL,
    channel text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_error text,
    delivered_at timestamp with time zone,
    message text
);
COMMENT ON TABLE ops.alert_deliveries IS 'The outbox: one row for each alert and each channel that is to tell it.';
COMMENT ON COLUMN ops.alert_deliveries.last_error IS 'Why the last attempt failed; it names no secret.';
COMMENT ON COLUMN ops.alert_deliveries.message IS 'The key of the message that told it; alerts of one cause share a message.';
CREATE TABLE ops.alerts (
    id bigint NOT NULL,
    pipeline_name text NOT NULL,
    load_date date,
    kind text NOT NULL,
    run_id text,
    job text,
    details text[] NOT NULL,
    occurrences integer DEFAULT 1 NOT NULL,
    opened_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    closed_at timestamp with time zone,
    CONSTRAINT alerts_kind_check CHECK ((kind = ANY (ARRAY['held'::text, 'failed'::text, 'late'::text, 'stalled'::text, 'recovered'::text])))
);
COMMENT ON TABLE ops.alerts IS 'One row for each incident, open until its load_date is published, and one for each recovery.';
COMMENT ON COLUMN ops.alerts.job IS 'The table, object, job, sensor or schedule that opened it; NULL where it is about the load_date as a whole.';
COMMENT ON COLUMN ops.alerts.details IS 'What its latest run said, a sentence for each table, object or job.';
COMMENT ON COLUMN ops.alerts.occurrences IS 'In how many runs it happened; it is told once.';
ALTER TABLE ops.alerts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ops.alerts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE ops.data_quality_results (
    id bigint NOT NULL,
    run_id text NOT NULL,
    build_id bigint,
    check_name text NOT NULL,
    table_name text NOT NULL,
    load_date date NOT NULL,
    status text NOT NULL,
    blocking boolean NOT NULL,
    metric_value numeric,
    threshold numeric,
    samples jsonb DEFAULT '[]'::jsonb NOT NULL,
    message text DEFAULT ''::text NOT NULL,
    subject text NOT NULL,
    checked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT data_quality_results_status_check CHECK ((status = ANY (ARRAY['pass'::text, 'fail'::text, 'warn'::text, 'error'::text]))),
    CONSTRAINT data_quality_results_subject_check CHECK ((subject = ANY (ARRAY['object'::text, 'candidate'::text, 'published'::text])))
);
COMMENT ON TABLE ops.data_quality_results IS 'One row for each time a check was made.';
COMMENT ON COLUMN ops.data_quality_results.status IS 'pass; fail: a blocking check failed; warn: another one failed; error: the check itself failed, which holds too.';
COMMENT ON COLUMN ops.data_quality_results.subject IS 'What was checked: an object on S3, a build before it is published (candidate), or what is published (a recheck).';
ALTER TABLE ops.data_quality_results ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ops.data_quality_results_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE ops.holds (
    build_id bigint NOT NULL,
    manifest_hash text NOT NULL,
    code_version text NOT NULL,
    checks_version text NOT NULL,
    inputs jsonb NOT NULL
);
COMMENT ON TABLE ops.holds IS 'What each held build was made from, as ops.publishes says it of the others: the same would be held again.';
CREATE TABLE ops.locks (
    name text NOT NULL,
    share bigint DEFAULT 0 NOT NULL,
    token bigint,
    pid integer,
    login oid,
    holder text,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE ops.locks IS 'The locks of runs, builds and publishes. A row whose session is gone is held by nobody.';
COMMENT ON COLUMN ops.locks.share IS '0 for a lock that one session has alone; else its token, where several share it.';
COMMENT ON COLUMN ops.locks.token IS 'Number of the advisory lock that the session holds as long as it lives; NULL where transactions lock the row itself.';
COMMENT ON COLUMN ops.locks.holder IS 'The application_name of the session.';
CREATE TABLE ops.manifests (
    manifest_id bigint NOT NULL,
    object text NOT NULL,
    load_date date NOT NULL,
    bucket text NOT NULL,
    key text NOT NULL,
    size_bytes bigint NOT NULL,
    etag text NOT NULL,
    version_id text,
    last_modified timestamp with time zone NOT NULL,
    manifest_hash text NOT NULL,
    rows bigint,
    sha256 text,
    run_id text NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE ops.manifests IS 'Each state of an S3 object that was seen; rows and sha256 are filled in when its bytes have been read.';
ALTER TABLE ops.manifests ALTER COLUMN manifest_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ops.manifests_manifest_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE ops.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE ops.pipeline_runs (
    id bigint NOT NULL,
    run_id text NOT NULL,
    pipeline_name text NOT NULL,
    job text NOT NULL,
    load_date date,
    status text DEFAULT 'running'::text NOT NULL,
    rows_extracted bigint,
    rows_loaded_raw bigint,
    rows_loaded_staging bigint,
    rows_loaded_marts bigint,
    rows_quarantined bigint,
    execution_seconds numeric(12,3),
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    error_message text,
    candidate text,
    CONSTRAINT pipeline_runs_status_check CHECK ((status = ANY (ARRAY['running'::text, 'success'::text, 'held'::text, 'failed'::text, 'missing'::text])))
);
COMMENT ON TABLE ops.pipeline_runs IS 'One row for each build of a table (job = schema.table) and one for each run as a whole (job = its Dagster job).';
COMMENT ON COLUMN ops.pipeline_runs.status IS 'running; success: published; of the others nothing is: held by a gate, failed, missing: its object has not landed.';
COMMENT ON COLUMN ops.pipeline_runs.candidate IS 'The held build, kept for inspection until the next build of its table and load_date.';
ALTER TABLE ops.pipeline_runs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ops.pipeline_runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE ops.publishes ALTER COLUMN publish_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ops.publishes_publish_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE ops.quarantine (
    id bigint NOT NULL,
    build_id bigint NOT NULL,
    run_id text NOT NULL,
    table_name text NOT NULL,
    load_date date NOT NULL,
    object_key text NOT NULL,
    line bigint NOT NULL,
    record text NOT NULL,
    column_name text,
    value text,
    reason text NOT NULL,
    quarantined_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE ops.quarantine IS 'Records that could not be read as their table''s columns, with the reason.';
COMMENT ON COLUMN ops.quarantine.line IS 'Line of the object on which the record begins; the header is line 1.';
ALTER TABLE ops.quarantine ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ops.quarantine_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE ops.requests (
    load_date date NOT NULL,
    basis text NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    requested_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE ops.requests IS 'The load_dates for which a run was asked; attempts is 0 where it came to an end: published, or held.';
COMMENT ON COLUMN ops.requests.basis IS 'Of the objects, SQL and checks that the run was asked for; for others it is asked anew at once.';
COMMENT ON COLUMN ops.requests.attempts IS 'How often a run was asked for on this basis: each time after a longer pause.';
CREATE TABLE raw.customers (
    load_date date,
    customer_id integer,
    country text
);
ALTER TABLE raw.customers OWNER TO kpi_loader;
COMMENT ON TABLE raw.customers IS 'Customers as delivered.';
COMMENT ON COLUMN raw.customers.load_date IS 'Day on which the source files landed.';
COMMENT ON COLUMN raw.customers.customer_id IS 'Customer.';
COMMENT ON COLUMN raw.customers.country IS 'Country in which the customer lives.';
CREATE VIEW stg.orders AS
 SELECT load_date,
    order_id,
    customer_id,
    product,
    amount AS price
   FROM raw.orders;
ALTER VIEW stg.orders OWNER TO kpi_builder;
COMMENT ON VIEW stg.orders IS 'Orders under the names that the marts use.';
COMMENT ON COLUMN stg.orders.load_date IS 'Day on which the source files landed.';
COMMENT ON COLUMN stg.orders.order_id IS 'Order.';
COMMENT ON COLUMN stg.orders.customer_id IS 'Customer who ordered.';
COMMENT ON COLUMN stg.orders.product IS 'Name of the product.';
COMMENT ON COLUMN stg.orders.price IS 'Price in euros; NULL if it is not known.';
ALTER TABLE ONLY raw.orders ATTACH PARTITION builds.raw__orders__20250302__13 FOR VALUES IN ('2025-03-02');
ALTER TABLE ONLY raw.orders ATTACH PARTITION builds.raw__orders__20250303__42 FOR VALUES IN ('2025-03-03');
ALTER TABLE ONLY raw.orders ATTACH PARTITION builds.raw__orders__20250305__34 FOR VALUES IN ('2025-03-05');
INSERT INTO builds.raw__orders__20250302__13 VALUES
	('2025-03-02', 11, 1, 'feather', 96.51),
	('2025-03-02', 12, 1, 'nail', 9.12),
	('2025-03-02', 13, 1, 'anvil', 92.20),
	('2025-03-02', 14, 1, 'saw', NULL),
	('2025-03-02', 15, 1, 'anvil', 94.53),
	('2025-03-02', 16, 2, 'feather', 17.88),
	('2025-03-02', 17, 3, 'feather', 62.01),
	('2025-03-02', 18, 1, 'anvil', 93.46);
INSERT INTO builds.raw__orders__20250303__42 VALUES
	('2025-03-03', 21, 1, 'feather', 82.33),
	('2025-03-03', 22, 3, 'nail', 52.46),
	('2025-03-03', 23, 2, 'nail', 60.24),
	('2025-03-03', 24, 2, 'feather', 30.45),
	('2025-03-03', 25, 3, 'feather', 14.41),
	('2025-03-03', 26, 3, 'saw', 87.04),
	('2025-03-03', 27, 2, 'saw', 74.53),
	('2025-03-03', 28, 2, 'anvil', 20.34);
INSERT INTO builds.raw__orders__20250304__29 VALUES
	('2025-03-04', 31, 3, 'nail', 28.02),
	('2025-03-04', 32, 2, 'feather', 81.11),
	('2025-03-04', 33, 2, 'anvil', 13.71),
	('2025-03-04', 34, 3, 'saw', 56.72),
	('2025-03-04', 35, 3, 'saw', 98.38),
	('2025-03-04', 36, 2, 'nail', 12.26),
	('2025-03-04', 37, 1, 'saw', 78.67),
	('2025-03-04', 38, 3, 'anvil', 10.94),
	('2025-03-04', 31, 3, 'nail', 28.02);
INSERT INTO builds.raw__orders__20250305__34 VALUES
	('2025-03-05', 41, 3, 'saw', 95.69),
	('2025-03-05', 42, 3, 'nail', 47.62),
	('2025-03-05', 43, 3, 'nail', 57.85),
	('2025-03-05', 44, 1, 'nail', 59.23),
	('2025-03-05', 45, 1, 'anvil', 81.88),
	('2025-03-05', 46, 1, 'feather', 48.09),
	('2025-03-05', 47, 1, 'feather', 66.19),
	('2025-03-05', 48, 2, 'nail', 14.20);
INSERT INTO marts.kpi_products VALUES
	('2025-03-01', 'nail', 1, 12.44, true),
	('2025-03-01', 'anvil', 6, 59.65, false),
	('2025-03-01', 'feather', 1, 65.68, true),
	('2025-03-02', 'anvil', 3, 93.40, false),
	('2025-03-02', 'nail', 1, 9.12, true),
	('2025-03-02', 'saw', 1, NULL, true),
	('2025-03-02', 'feather', 3, 58.80, false),
	('2025-03-05', 'anvil', 1, 81.88, true),
	('2025-03-05', 'nail', 4, 44.73, false),
	('2025-03-05', 'feather', 2, 57.14, false),
	('2025-03-05', 'saw', 1, 95.69, true),
	('2025-03-03', 'anvil', 1, 20.34, true),
	('2025-03-03', 'nail', 2, 56.35, false),
	('2025-03-03', 'saw', 2, 80.79, false),
	('2025-03-03', 'feather', 3, 42.40, false);
INSERT INTO marts.sales VALUES
	('2025-03-01', 'DE', 3, 171.76),
	('2025-03-01', 'FR', 2, 106.36),
	('2025-03-01', 'PT', 3, 157.90),
	('2025-03-02', 'DE', 4, 189.64),
	('2025-03-02', 'FR', 8, 492.18),
	('2025-03-02', 'PT', 4, 219.91),
	('2025-03-05', 'DE', 5, 199.76),
	('2025-03-05', 'FR', 4, 255.39),
	('2025-03-05', 'PT', 6, 355.07),
	('2025-03-03', 'DE', 8, 375.20),
	('2025-03-03', 'FR', 9, 574.51),
	('2025-03-03', 'PT', 7, 373.82);
INSERT INTO ops.alert_deliveries VALUES
	(1, 'log', 1, '2025-03-06 22:55:29.557798+00', NULL, '2025-03-06 22:54:29.571096+00', 'earlier.1');
INSERT INTO ops.alerts OVERRIDING SYSTEM VALUE VALUES
	(1, 'earlier', '2025-03-04', 'held', '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 'raw.orders', '{"raw.orders: grain (1 bad row); the candidate is kept as builds.raw__orders__20250304__29"}', 1, '2025-03-06 22:54:28.697175+00', '2025-03-06 22:54:28.697116+00', NULL);
INSERT INTO ops.data_quality_results OVERRIDING SYSTEM VALUE VALUES
	(1, '6deac9fb-09ed-4332-ae8f-5eca95504957', 2, 'exists', 's3.customers', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:18.740023+00'),
	(2, '6deac9fb-09ed-4332-ae8f-5eca95504957', 2, 'not_empty', 's3.customers', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:18.740188+00'),
	(3, '6deac9fb-09ed-4332-ae8f-5eca95504957', 2, 'header', 's3.customers', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:18.7402+00'),
	(4, '6deac9fb-09ed-4332-ae8f-5eca95504957', 2, 'ends_with_line_end', 's3.customers', '2025-03-01', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:53:18.740205+00'),
	(5, '6deac9fb-09ed-4332-ae8f-5eca95504957', 3, 'exists', 's3.orders', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:19.221158+00'),
	(6, '6deac9fb-09ed-4332-ae8f-5eca95504957', 3, 'not_empty', 's3.orders', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:19.221249+00'),
	(7, '6deac9fb-09ed-4332-ae8f-5eca95504957', 3, 'header', 's3.orders', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:19.221255+00'),
	(8, '6deac9fb-09ed-4332-ae8f-5eca95504957', 3, 'ends_with_line_end', 's3.orders', '2025-03-01', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:53:19.221259+00'),
	(9, '6deac9fb-09ed-4332-ae8f-5eca95504957', 4, 'rows_accounted', 'raw.customers', '2025-03-01', 'pass', true, 0, 0, '[]', '3 records in the object = 3 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:53:19.785547+00'),
	(10, '6deac9fb-09ed-4332-ae8f-5eca95504957', 4, 'quarantine', 'raw.customers', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:19.785615+00'),
	(11, '6deac9fb-09ed-4332-ae8f-5eca95504957', 4, 'not_seen_before', 'raw.customers', '2025-03-01', 'pass', false, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:19.785621+00'),
	(12, '6deac9fb-09ed-4332-ae8f-5eca95504957', 4, 'grain', 'raw.customers', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:19.785624+00'),
	(13, '6deac9fb-09ed-4332-ae8f-5eca95504957', 4, 'min_rows', 'raw.customers', '2025-03-01', 'pass', true, 3, 1.0, '[]', '', 'candidate', '2025-03-06 22:53:19.785628+00'),
	(14, '6deac9fb-09ed-4332-ae8f-5eca95504957', 5, 'rows_accounted', 'raw.orders', '2025-03-01', 'pass', true, 0, 0, '[]', '8 records in the object = 8 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:53:20.277362+00'),
	(15, '6deac9fb-09ed-4332-ae8f-5eca95504957', 5, 'quarantine', 'raw.orders', '2025-03-01', 'pass', true, 0, 1, '[]', '', 'candidate', '2025-03-06 22:53:20.277432+00'),
	(16, '6deac9fb-09ed-4332-ae8f-5eca95504957', 5, 'not_seen_before', 'raw.orders', '2025-03-01', 'pass', false, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:20.277438+00'),
	(17, '6deac9fb-09ed-4332-ae8f-5eca95504957', 5, 'grain', 'raw.orders', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:20.277441+00'),
	(18, '6deac9fb-09ed-4332-ae8f-5eca95504957', 5, 'min_rows', 'raw.orders', '2025-03-01', 'pass', true, 8, 1.0, '[]', '', 'candidate', '2025-03-06 22:53:20.277444+00'),
	(19, '6deac9fb-09ed-4332-ae8f-5eca95504957', 5, 'not_null', 'raw.orders', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:20.277448+00'),
	(20, '6deac9fb-09ed-4332-ae8f-5eca95504957', 7, 'grain', 'marts.kpi_products', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:21.088143+00'),
	(21, '6deac9fb-09ed-4332-ae8f-5eca95504957', 7, 'min_rows', 'marts.kpi_products', '2025-03-01', 'pass', true, 3, 1.0, '[]', '', 'candidate', '2025-03-06 22:53:21.088228+00'),
	(22, '6deac9fb-09ed-4332-ae8f-5eca95504957', 8, 'grain', 'marts.sales', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:21.575248+00'),
	(23, '6deac9fb-09ed-4332-ae8f-5eca95504957', 8, 'range__orders', 'marts.sales', '2025-03-01', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:21.575438+00'),
	(24, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 10, 'exists', 's3.customers', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:42.076857+00'),
	(25, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 10, 'not_empty', 's3.customers', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:42.076976+00'),
	(26, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 10, 'header', 's3.customers', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:42.076982+00'),
	(27, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 10, 'ends_with_line_end', 's3.customers', '2025-03-02', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:53:42.076985+00'),
	(28, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 11, 'exists', 's3.orders', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:42.457133+00'),
	(29, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 11, 'not_empty', 's3.orders', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:42.457213+00'),
	(30, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 11, 'header', 's3.orders', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:53:42.457219+00'),
	(31, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 11, 'ends_with_line_end', 's3.orders', '2025-03-02', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:53:42.457223+00'),
	(32, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 12, 'rows_accounted', 'raw.customers', '2025-03-02', 'pass', true, 0, 0, '[]', '3 records in the object = 3 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:53:43.029443+00'),
	(33, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 12, 'quarantine', 'raw.customers', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:43.029516+00'),
	(34, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 12, 'not_seen_before', 'raw.customers', '2025-03-02', 'warn', false, 1, 0, '[{"object": "s3://kpi-earlier/raw/customers/load_date=2025-03-01/customers.csv", "load_date": "2025-03-01"}]', 'the object has the same bytes as s3://kpi-earlier/raw/customers/load_date=2025-03-01/customers.csv of 2025-03-01', 'candidate', '2025-03-06 22:53:43.029525+00'),
	(35, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 12, 'grain', 'raw.customers', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:43.029535+00'),
	(36, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 12, 'min_rows', 'raw.customers', '2025-03-02', 'pass', true, 3, 1.0, '[]', '', 'candidate', '2025-03-06 22:53:43.02954+00'),
	(37, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 13, 'rows_accounted', 'raw.orders', '2025-03-02', 'pass', true, 0, 0, '[]', '8 records in the object = 8 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:53:43.513178+00'),
	(38, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 13, 'quarantine', 'raw.orders', '2025-03-02', 'pass', true, 0, 1, '[]', '', 'candidate', '2025-03-06 22:53:43.513241+00'),
	(39, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 13, 'not_seen_before', 'raw.orders', '2025-03-02', 'pass', false, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:43.513251+00'),
	(40, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 13, 'grain', 'raw.orders', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:43.513256+00'),
	(41, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 13, 'min_rows', 'raw.orders', '2025-03-02', 'pass', true, 8, 1.0, '[]', '', 'candidate', '2025-03-06 22:53:43.51326+00'),
	(42, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 13, 'not_null', 'raw.orders', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:43.513265+00'),
	(43, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 15, 'grain', 'marts.kpi_products', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:44.363948+00'),
	(44, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 15, 'min_rows', 'marts.kpi_products', '2025-03-02', 'pass', true, 4, 1.0, '[]', '', 'candidate', '2025-03-06 22:53:44.364022+00'),
	(45, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 16, 'grain', 'marts.sales', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:44.899946+00'),
	(46, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 16, 'range__orders', 'marts.sales', '2025-03-02', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:53:44.900018+00'),
	(47, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 18, 'exists', 's3.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:04.236166+00'),
	(48, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 18, 'not_empty', 's3.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:04.236306+00'),
	(49, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 18, 'header', 's3.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:04.236319+00'),
	(50, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 18, 'ends_with_line_end', 's3.customers', '2025-03-03', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:54:04.236323+00'),
	(51, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 19, 'exists', 's3.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:04.913049+00'),
	(52, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 19, 'not_empty', 's3.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:04.913511+00'),
	(53, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 19, 'header', 's3.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:04.913518+00'),
	(54, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 19, 'ends_with_line_end', 's3.orders', '2025-03-03', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:54:04.913522+00'),
	(55, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 20, 'rows_accounted', 'raw.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '3 records in the object = 3 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:54:05.620076+00'),
	(56, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 20, 'quarantine', 'raw.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:05.620148+00'),
	(57, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 20, 'not_seen_before', 'raw.customers', '2025-03-03', 'warn', false, 2, 0, '[{"object": "s3://kpi-earlier/raw/customers/load_date=2025-03-02/customers.csv", "load_date": "2025-03-02"}, {"object": "s3://kpi-earlier/raw/customers/load_date=2025-03-01/customers.csv", "load_date": "2025-03-01"}]', 'the object has the same bytes as s3://kpi-earlier/raw/customers/load_date=2025-03-02/customers.csv of 2025-03-02 and 1 more', 'candidate', '2025-03-06 22:54:05.620158+00'),
	(58, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 20, 'grain', 'raw.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:05.620163+00'),
	(59, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 20, 'min_rows', 'raw.customers', '2025-03-03', 'pass', true, 3, 1.0, '[]', '', 'candidate', '2025-03-06 22:54:05.620166+00'),
	(60, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 21, 'rows_accounted', 'raw.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '7 records in the object = 7 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:54:06.334117+00'),
	(61, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 21, 'quarantine', 'raw.orders', '2025-03-03', 'pass', true, 0, 1, '[]', '', 'candidate', '2025-03-06 22:54:06.334189+00'),
	(62, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 21, 'not_seen_before', 'raw.orders', '2025-03-03', 'pass', false, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:06.334195+00'),
	(63, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 21, 'grain', 'raw.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:06.334198+00'),
	(64, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 21, 'min_rows', 'raw.orders', '2025-03-03', 'pass', true, 7, 1.0, '[]', '', 'candidate', '2025-03-06 22:54:06.334202+00'),
	(65, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 21, 'not_null', 'raw.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:06.334206+00'),
	(66, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 23, 'grain', 'marts.kpi_products', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:07.501331+00'),
	(67, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 23, 'min_rows', 'marts.kpi_products', '2025-03-03', 'pass', true, 4, 1.0, '[]', '', 'candidate', '2025-03-06 22:54:07.501413+00'),
	(68, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 24, 'grain', 'marts.sales', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:08.074329+00'),
	(69, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 24, 'range__orders', 'marts.sales', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:08.074419+00'),
	(70, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 26, 'exists', 's3.customers', '2025-03-04', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:26.854971+00'),
	(71, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 26, 'not_empty', 's3.customers', '2025-03-04', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:26.8551+00'),
	(72, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 26, 'header', 's3.customers', '2025-03-04', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:26.855105+00'),
	(73, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 26, 'ends_with_line_end', 's3.customers', '2025-03-04', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:54:26.855109+00'),
	(74, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 27, 'exists', 's3.orders', '2025-03-04', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:27.448403+00'),
	(75, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 27, 'not_empty', 's3.orders', '2025-03-04', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:27.44848+00'),
	(76, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 27, 'header', 's3.orders', '2025-03-04', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:27.44849+00'),
	(77, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 27, 'ends_with_line_end', 's3.orders', '2025-03-04', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:54:27.448496+00'),
	(78, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 28, 'rows_accounted', 'raw.customers', '2025-03-04', 'pass', true, 0, 0, '[]', '3 records in the object = 3 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:54:28.031586+00'),
	(79, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 28, 'quarantine', 'raw.customers', '2025-03-04', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:28.03167+00'),
	(80, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 28, 'not_seen_before', 'raw.customers', '2025-03-04', 'warn', false, 3, 0, '[{"object": "s3://kpi-earlier/raw/customers/load_date=2025-03-03/customers.csv", "load_date": "2025-03-03"}, {"object": "s3://kpi-earlier/raw/customers/load_date=2025-03-02/customers.csv", "load_date": "2025-03-02"}, {"object": "s3://kpi-earlier/raw/customers/load_date=2025-03-01/customers.csv", "load_date": "2025-03-01"}]', 'the object has the same bytes as s3://kpi-earlier/raw/customers/load_date=2025-03-03/customers.csv of 2025-03-03 and 2 more', 'candidate', '2025-03-06 22:54:28.03168+00'),
	(81, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 28, 'grain', 'raw.customers', '2025-03-04', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:28.031685+00'),
	(82, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 28, 'min_rows', 'raw.customers', '2025-03-04', 'pass', true, 3, 1.0, '[]', '', 'candidate', '2025-03-06 22:54:28.031694+00'),
	(83, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 29, 'rows_accounted', 'raw.orders', '2025-03-04', 'pass', true, 0, 0, '[]', '9 records in the object = 9 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:54:28.678834+00'),
	(84, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 29, 'quarantine', 'raw.orders', '2025-03-04', 'pass', true, 0, 1, '[]', '', 'candidate', '2025-03-06 22:54:28.678914+00'),
	(85, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 29, 'not_seen_before', 'raw.orders', '2025-03-04', 'pass', false, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:28.678921+00'),
	(86, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 29, 'grain', 'raw.orders', '2025-03-04', 'fail', true, 1, 0, '[{"rows": 2, "order_id": 31}]', '1 bad row', 'candidate', '2025-03-06 22:54:28.678928+00'),
	(87, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 29, 'min_rows', 'raw.orders', '2025-03-04', 'pass', true, 9, 1.0, '[]', '', 'candidate', '2025-03-06 22:54:28.678931+00'),
	(88, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 29, 'not_null', 'raw.orders', '2025-03-04', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:28.678935+00'),
	(89, '151c07f9-6648-4885-bfcb-4a66e871a81c', 31, 'exists', 's3.customers', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:45.453327+00'),
	(90, '151c07f9-6648-4885-bfcb-4a66e871a81c', 31, 'not_empty', 's3.customers', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:45.453466+00'),
	(91, '151c07f9-6648-4885-bfcb-4a66e871a81c', 31, 'header', 's3.customers', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:45.45348+00'),
	(92, '151c07f9-6648-4885-bfcb-4a66e871a81c', 31, 'ends_with_line_end', 's3.customers', '2025-03-05', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:54:45.453484+00'),
	(93, '151c07f9-6648-4885-bfcb-4a66e871a81c', 32, 'exists', 's3.orders', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:45.841984+00'),
	(94, '151c07f9-6648-4885-bfcb-4a66e871a81c', 32, 'not_empty', 's3.orders', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:45.842224+00'),
	(95, '151c07f9-6648-4885-bfcb-4a66e871a81c', 32, 'header', 's3.orders', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:54:45.842231+00'),
	(96, '151c07f9-6648-4885-bfcb-4a66e871a81c', 32, 'ends_with_line_end', 's3.orders', '2025-03-05', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:54:45.842235+00'),
	(97, '151c07f9-6648-4885-bfcb-4a66e871a81c', 33, 'rows_accounted', 'raw.customers', '2025-03-05', 'pass', true, 0, 0, '[]', '4 records in the object = 4 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:54:46.405215+00'),
	(98, '151c07f9-6648-4885-bfcb-4a66e871a81c', 33, 'quarantine', 'raw.customers', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:46.405335+00'),
	(99, '151c07f9-6648-4885-bfcb-4a66e871a81c', 33, 'not_seen_before', 'raw.customers', '2025-03-05', 'pass', false, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:46.405341+00'),
	(100, '151c07f9-6648-4885-bfcb-4a66e871a81c', 33, 'grain', 'raw.customers', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:46.405345+00'),
	(101, '151c07f9-6648-4885-bfcb-4a66e871a81c', 33, 'min_rows', 'raw.customers', '2025-03-05', 'pass', true, 4, 1.0, '[]', '', 'candidate', '2025-03-06 22:54:46.405349+00'),
	(102, '151c07f9-6648-4885-bfcb-4a66e871a81c', 34, 'rows_accounted', 'raw.orders', '2025-03-05', 'pass', true, 0, 0, '[]', '9 records in the object = 8 loaded + 1 in quarantine', 'candidate', '2025-03-06 22:54:46.97757+00'),
	(103, '151c07f9-6648-4885-bfcb-4a66e871a81c', 34, 'quarantine', 'raw.orders', '2025-03-05', 'pass', true, 1, 1, '[{"line": 10, "value": "cheap", "column": "amount", "reason": "a decimal number has digits and at most one point, without exponent and grouping: write it so, or declare the column as text and cast it in staging"}]', '1 unreadable record, first on line 10, amount ''cheap'': a decimal number has digits and at most one point, without exponent and grouping: write it so, or declare the column as text and cast it in staging', 'candidate', '2025-03-06 22:54:46.977644+00'),
	(104, '151c07f9-6648-4885-bfcb-4a66e871a81c', 34, 'not_seen_before', 'raw.orders', '2025-03-05', 'pass', false, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:46.977652+00'),
	(105, '151c07f9-6648-4885-bfcb-4a66e871a81c', 34, 'grain', 'raw.orders', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:46.977655+00'),
	(106, '151c07f9-6648-4885-bfcb-4a66e871a81c', 34, 'min_rows', 'raw.orders', '2025-03-05', 'pass', true, 8, 1.0, '[]', '', 'candidate', '2025-03-06 22:54:46.977659+00'),
	(107, '151c07f9-6648-4885-bfcb-4a66e871a81c', 34, 'not_null', 'raw.orders', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:46.977662+00'),
	(108, '151c07f9-6648-4885-bfcb-4a66e871a81c', 36, 'grain', 'marts.kpi_products', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:48.106054+00'),
	(109, '151c07f9-6648-4885-bfcb-4a66e871a81c', 36, 'min_rows', 'marts.kpi_products', '2025-03-05', 'pass', true, 4, 1.0, '[]', '', 'candidate', '2025-03-06 22:54:48.106122+00'),
	(110, '151c07f9-6648-4885-bfcb-4a66e871a81c', 37, 'grain', 'marts.sales', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:48.840028+00'),
	(111, '151c07f9-6648-4885-bfcb-4a66e871a81c', 37, 'range__orders', 'marts.sales', '2025-03-05', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:54:48.840099+00'),
	(112, '9e604945-c688-4b23-ac5e-5c72c7007b47', 39, 'exists', 's3.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:55:08.248299+00'),
	(113, '9e604945-c688-4b23-ac5e-5c72c7007b47', 39, 'not_empty', 's3.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:55:08.248431+00'),
	(114, '9e604945-c688-4b23-ac5e-5c72c7007b47', 39, 'header', 's3.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:55:08.248437+00'),
	(115, '9e604945-c688-4b23-ac5e-5c72c7007b47', 39, 'ends_with_line_end', 's3.customers', '2025-03-03', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:55:08.24844+00'),
	(116, '9e604945-c688-4b23-ac5e-5c72c7007b47', 40, 'exists', 's3.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:55:08.784954+00'),
	(117, '9e604945-c688-4b23-ac5e-5c72c7007b47', 40, 'not_empty', 's3.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:55:08.785044+00'),
	(118, '9e604945-c688-4b23-ac5e-5c72c7007b47', 40, 'header', 's3.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'object', '2025-03-06 22:55:08.78505+00'),
	(119, '9e604945-c688-4b23-ac5e-5c72c7007b47', 40, 'ends_with_line_end', 's3.orders', '2025-03-03', 'pass', false, 0, 0, '[]', '', 'object', '2025-03-06 22:55:08.785054+00'),
	(120, '9e604945-c688-4b23-ac5e-5c72c7007b47', 41, 'rows_accounted', 'raw.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '3 records in the object = 3 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:55:09.610553+00'),
	(121, '9e604945-c688-4b23-ac5e-5c72c7007b47', 41, 'quarantine', 'raw.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:55:09.61063+00'),
	(122, '9e604945-c688-4b23-ac5e-5c72c7007b47', 41, 'not_seen_before', 'raw.customers', '2025-03-03', 'warn', false, 2, 0, '[{"object": "s3://kpi-earlier/raw/customers/load_date=2025-03-02/customers.csv", "load_date": "2025-03-02"}, {"object": "s3://kpi-earlier/raw/customers/load_date=2025-03-01/customers.csv", "load_date": "2025-03-01"}]', 'the object has the same bytes as s3://kpi-earlier/raw/customers/load_date=2025-03-02/customers.csv of 2025-03-02 and 1 more', 'candidate', '2025-03-06 22:55:09.61064+00'),
	(123, '9e604945-c688-4b23-ac5e-5c72c7007b47', 41, 'grain', 'raw.customers', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:55:09.61065+00'),
	(124, '9e604945-c688-4b23-ac5e-5c72c7007b47', 41, 'min_rows', 'raw.customers', '2025-03-03', 'pass', true, 3, 1.0, '[]', '', 'candidate', '2025-03-06 22:55:09.61066+00'),
	(125, '9e604945-c688-4b23-ac5e-5c72c7007b47', 42, 'rows_accounted', 'raw.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '8 records in the object = 8 loaded + 0 in quarantine', 'candidate', '2025-03-06 22:55:10.46608+00'),
	(126, '9e604945-c688-4b23-ac5e-5c72c7007b47', 42, 'quarantine', 'raw.orders', '2025-03-03', 'pass', true, 0, 1, '[]', '', 'candidate', '2025-03-06 22:55:10.46615+00'),
	(127, '9e604945-c688-4b23-ac5e-5c72c7007b47', 42, 'not_seen_before', 'raw.orders', '2025-03-03', 'pass', false, 0, 0, '[]', '', 'candidate', '2025-03-06 22:55:10.466157+00'),
	(128, '9e604945-c688-4b23-ac5e-5c72c7007b47', 42, 'grain', 'raw.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:55:10.466162+00'),
	(129, '9e604945-c688-4b23-ac5e-5c72c7007b47', 42, 'min_rows', 'raw.orders', '2025-03-03', 'pass', true, 8, 1.0, '[]', '', 'candidate', '2025-03-06 22:55:10.466177+00'),
	(130, '9e604945-c688-4b23-ac5e-5c72c7007b47', 42, 'not_null', 'raw.orders', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:55:10.466182+00'),
	(131, '9e604945-c688-4b23-ac5e-5c72c7007b47', 44, 'grain', 'marts.kpi_products', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:55:12.137444+00'),
	(132, '9e604945-c688-4b23-ac5e-5c72c7007b47', 44, 'min_rows', 'marts.kpi_products', '2025-03-03', 'pass', true, 4, 1.0, '[]', '', 'candidate', '2025-03-06 22:55:12.137523+00'),
	(133, '9e604945-c688-4b23-ac5e-5c72c7007b47', 45, 'grain', 'marts.sales', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:55:13.144983+00'),
	(134, '9e604945-c688-4b23-ac5e-5c72c7007b47', 45, 'range__orders', 'marts.sales', '2025-03-03', 'pass', true, 0, 0, '[]', '', 'candidate', '2025-03-06 22:55:13.145047+00');
INSERT INTO ops.holds VALUES
	(29, 'e7d4e91bdd257227', '544d29f78db6cb8e', '3ecba5991eea2aa9', '{}');
INSERT INTO ops.locks VALUES
	('alerts', 0, NULL, NULL, NULL, NULL, '2025-03-06 22:53:12.325044+00'),
	('publish raw.customers', 0, NULL, NULL, NULL, NULL, '2025-03-06 22:53:19.799058+00'),
	('publish raw.orders', 0, NULL, NULL, NULL, NULL, '2025-03-06 22:53:20.305092+00'),
	('publish stg.orders', 0, NULL, NULL, NULL, NULL, '2025-03-06 22:53:20.806573+00'),
	('publish marts.kpi_products', 0, NULL, NULL, NULL, NULL, '2025-03-06 22:53:21.103526+00'),
	('publish marts.kpi_products_latest', 0, NULL, NULL, NULL, NULL, '2025-03-06 22:53:21.176975+00'),
	('publish marts.sales', 0, NULL, NULL, NULL, NULL, '2025-03-06 22:53:21.603439+00');
INSERT INTO ops.manifests OVERRIDING SYSTEM VALUE VALUES
	(1, 'customers', '2025-03-01', 'kpi-earlier', 'raw/customers/load_date=2025-03-01/customers.csv', 35, '"a2c7349723854cf195c43073d222c647"', NULL, '2025-03-06 22:53:09+00', 'f1e9f9109340b5a5', 3, 'ae01aeb3056adeecc30fcd92b504b5ddb53973ab7c85d973492695705c861d0e', '6deac9fb-09ed-4332-ae8f-5eca95504957', '2025-03-06 22:53:18.735802+00'),
	(2, 'orders', '2025-03-01', 'kpi-earlier', 'raw/orders/load_date=2025-03-01/orders.csv', 165, '"44dbec74813a4b3e513c469b00a2da70"', NULL, '2025-03-06 22:53:09+00', '3b0a4ecfbfad1e06', 8, '3fe70a0fcb700743abab44ca35b0f7ef3bdfeeb0b367e9ac284ed2aa7f7ccbc9', '6deac9fb-09ed-4332-ae8f-5eca95504957', '2025-03-06 22:53:19.20742+00'),
	(3, 'customers', '2025-03-02', 'kpi-earlier', 'raw/customers/load_date=2025-03-02/customers.csv', 35, '"a2c7349723854cf195c43073d222c647"', NULL, '2025-03-06 22:53:29+00', '76b7e2333dd5c704', 3, 'ae01aeb3056adeecc30fcd92b504b5ddb53973ab7c85d973492695705c861d0e', 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', '2025-03-06 22:53:42.070373+00'),
	(4, 'orders', '2025-03-02', 'kpi-earlier', 'raw/orders/load_date=2025-03-02/orders.csv', 169, '"ab15ef50cdaae4d96fbdac508f990231"', NULL, '2025-03-06 22:53:29+00', 'ea77a5cd0add5371', 8, '72842d28556e6c5107d778f3624dc02971ffe093892a78e6139cb2dad0d11031', 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', '2025-03-06 22:53:42.448575+00'),
	(6, 'orders', '2025-03-03', 'kpi-earlier', 'raw/orders/load_date=2025-03-03/orders.csv', 153, '"cd46e60b1dadd8a53cb384ef1ac0d0ad"', NULL, '2025-03-06 22:53:50+00', '12588c2f62e24d8e', 7, '34cce0783a34e22bbc31bfff604c698f806128f7b2f3cbdc4fce8d9cd13ab585', '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', '2025-03-06 22:54:04.896155+00'),
	(7, 'customers', '2025-03-04', 'kpi-earlier', 'raw/customers/load_date=2025-03-04/customers.csv', 35, '"a2c7349723854cf195c43073d222c647"', NULL, '2025-03-06 22:54:14+00', '44fb8fe7c9d37f29', 3, 'ae01aeb3056adeecc30fcd92b504b5ddb53973ab7c85d973492695705c861d0e', '7147b45c-98ab-42b0-9e4c-48535bcb34f9', '2025-03-06 22:54:26.827326+00'),
	(8, 'orders', '2025-03-04', 'kpi-earlier', 'raw/orders/load_date=2025-03-04/orders.csv', 182, '"2485c8880363660b007614a50498bd84"', NULL, '2025-03-06 22:54:14+00', 'e7d4e91bdd257227', 9, 'deef213084f3aaa500dbcd13c48b9a747f95bed5c79098e4d3505cd84468f7e1', '7147b45c-98ab-42b0-9e4c-48535bcb34f9', '2025-03-06 22:54:27.432465+00'),
	(9, 'customers', '2025-03-05', 'kpi-earlier', 'raw/customers/load_date=2025-03-05/customers.csv', 40, '"8d46945e06cc5075c546fc6a9825bc04"', NULL, '2025-03-06 22:54:34+00', '581eb526e55a2e8d', 4, 'f1cecba68361b5c519384ecd66ab17bb827d41e48ec23c705d06995a76f87083', '151c07f9-6648-4885-bfcb-4a66e871a81c', '2025-03-06 22:54:45.439892+00'),
	(10, 'orders', '2025-03-05', 'kpi-earlier', 'raw/orders/load_date=2025-03-05/orders.csv', 185, '"91537195fbf012f5daae3c4aef00e7f0"', NULL, '2025-03-06 22:54:34+00', 'a9110cc94a1191c0', 9, 'b75ec843b6db9036ec81f508c2a74a153e6bb35e24a0e982809557b57b23f485', '151c07f9-6648-4885-bfcb-4a66e871a81c', '2025-03-06 22:54:45.832301+00'),
	(5, 'customers', '2025-03-03', 'kpi-earlier', 'raw/customers/load_date=2025-03-03/customers.csv', 35, '"a2c7349723854cf195c43073d222c647"', NULL, '2025-03-06 22:53:50+00', 'ae9c006e8b609986', 3, 'ae01aeb3056adeecc30fcd92b504b5ddb53973ab7c85d973492695705c861d0e', '9e604945-c688-4b23-ac5e-5c72c7007b47', '2025-03-06 22:55:08.222928+00'),
	(12, 'orders', '2025-03-03', 'kpi-earlier', 'raw/orders/load_date=2025-03-03/orders.csv', 172, '"c9a5d445d777934d14e51be655e12a46"', NULL, '2025-03-06 22:54:54+00', '5f9be0fa64b47ae6', 8, 'e1ce8f01218880e36a12291e9566623a17687153826be51dc9f913f651e4f7a3', '9e604945-c688-4b23-ac5e-5c72c7007b47', '2025-03-06 22:55:08.76814+00');
INSERT INTO ops.migrations VALUES
	(1, '0001_initial.sql', '2025-03-06 22:53:12.22731+00'),
	(2, '0002_alerts.sql', '2025-03-06 22:53:12.237066+00'),
	(3, '0003_automation.sql', '2025-03-06 22:53:12.241476+00'),
	(4, '0004_retention.sql', '2025-03-06 22:53:12.241873+00'),
	(5, '0005_columns.sql', '2025-03-06 22:53:12.244407+00'),
	(6, '0006_locks.sql', '2025-03-06 22:53:12.250421+00'),
	(7, '0007_signals.sql', '2025-03-06 22:53:12.256946+00');
INSERT INTO ops.pipeline_runs OVERRIDING SYSTEM VALUE VALUES
	(2, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'earlier', 's3.customers', '2025-03-01', 'success', NULL, NULL, NULL, NULL, NULL, 0.060, '2025-03-06 22:53:18.688456+00', '2025-03-06 22:53:18.748715+00', NULL, NULL),
	(3, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'earlier', 's3.orders', '2025-03-01', 'success', NULL, NULL, NULL, NULL, NULL, 0.087, '2025-03-06 22:53:19.143586+00', '2025-03-06 22:53:19.230308+00', NULL, NULL),
	(4, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'earlier', 'raw.customers', '2025-03-01', 'success', 3, 3, NULL, NULL, 0, 0.097, '2025-03-06 22:53:19.725871+00', '2025-03-06 22:53:19.822499+00', NULL, NULL),
	(5, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'earlier', 'raw.orders', '2025-03-01', 'success', 8, 8, NULL, NULL, 0, 0.156, '2025-03-06 22:53:20.180402+00', '2025-03-06 22:53:20.336163+00', NULL, NULL),
	(6, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'earlier', 'stg.orders', '2025-03-01', 'success', NULL, NULL, 8, NULL, NULL, 0.031, '2025-03-06 22:53:20.788589+00', '2025-03-06 22:53:20.81999+00', NULL, NULL),
	(7, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'earlier', 'marts.kpi_products', '2025-03-01', 'success', NULL, NULL, NULL, 3, NULL, 0.173, '2025-03-06 22:53:21.020658+00', '2025-03-06 22:53:21.193358+00', NULL, NULL),
	(8, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'earlier', 'marts.sales', '2025-03-01', 'success', NULL, NULL, NULL, 3, NULL, 0.254, '2025-03-06 22:53:21.404579+00', '2025-03-06 22:53:21.658857+00', NULL, NULL),
	(1, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'earlier', 'earlier', '2025-03-01', 'success', 11, 11, 8, 6, 0, 3.291, '2025-03-06 22:53:18.644146+00', '2025-03-06 22:53:21.934702+00', NULL, NULL),
	(10, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'earlier', 's3.customers', '2025-03-02', 'success', NULL, NULL, NULL, NULL, NULL, 0.086, '2025-03-06 22:53:42.004258+00', '2025-03-06 22:53:42.090682+00', NULL, NULL),
	(11, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'earlier', 's3.orders', '2025-03-02', 'success', NULL, NULL, NULL, NULL, NULL, 0.061, '2025-03-06 22:53:42.400692+00', '2025-03-06 22:53:42.461815+00', NULL, NULL),
	(12, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'earlier', 'raw.customers', '2025-03-02', 'success', 3, 3, NULL, NULL, 0, 0.163, '2025-03-06 22:53:42.918045+00', '2025-03-06 22:53:43.081107+00', NULL, NULL),
	(13, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'earlier', 'raw.orders', '2025-03-02', 'success', 8, 8, NULL, NULL, 0, 0.145, '2025-03-06 22:53:43.424957+00', '2025-03-06 22:53:43.570307+00', NULL, NULL),
	(14, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'earlier', 'stg.orders', '2025-03-02', 'success', NULL, NULL, 8, NULL, NULL, 0.060, '2025-03-06 22:53:44.026676+00', '2025-03-06 22:53:44.086856+00', NULL, NULL),
	(15, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'earlier', 'marts.kpi_products', '2025-03-02', 'success', NULL, NULL, NULL, 4, NULL, 0.111, '2025-03-06 22:53:44.313549+00', '2025-03-06 22:53:44.424398+00', NULL, NULL),
	(16, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'earlier', 'marts.sales', '2025-03-02', 'success', NULL, NULL, NULL, 3, NULL, 0.184, '2025-03-06 22:53:44.768087+00', '2025-03-06 22:53:44.952279+00', NULL, NULL),
	(9, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'earlier', 'earlier', '2025-03-02', 'success', 11, 11, 8, 7, 0, 3.360, '2025-03-06 22:53:41.928657+00', '2025-03-06 22:53:45.289104+00', NULL, NULL),
	(18, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'earlier', 's3.customers', '2025-03-03', 'success', NULL, NULL, NULL, NULL, NULL, 0.122, '2025-03-06 22:54:04.123469+00', '2025-03-06 22:54:04.245081+00', NULL, NULL),
	(19, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'earlier', 's3.orders', '2025-03-03', 'success', NULL, NULL, NULL, NULL, NULL, 0.084, '2025-03-06 22:54:04.837533+00', '2025-03-06 22:54:04.921576+00', NULL, NULL),
	(20, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'earlier', 'raw.customers', '2025-03-03', 'success', 3, 3, NULL, NULL, 0, 0.228, '2025-03-06 22:54:05.473912+00', '2025-03-06 22:54:05.702217+00', NULL, NULL),
	(21, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'earlier', 'raw.orders', '2025-03-03', 'success', 7, 7, NULL, NULL, 0, 0.210, '2025-03-06 22:54:06.20308+00', '2025-03-06 22:54:06.413196+00', NULL, NULL),
	(22, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'earlier', 'stg.orders', '2025-03-03', 'success', NULL, NULL, 7, NULL, NULL, 0.085, '2025-03-06 22:54:07.028134+00', '2025-03-06 22:54:07.11348+00', NULL, NULL),
	(23, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'earlier', 'marts.kpi_products', '2025-03-03', 'success', NULL, NULL, NULL, 4, NULL, 0.148, '2025-03-06 22:54:07.435894+00', '2025-03-06 22:54:07.583932+00', NULL, NULL),
	(24, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'earlier', 'marts.sales', '2025-03-03', 'success', NULL, NULL, NULL, 3, NULL, 0.239, '2025-03-06 22:54:07.924281+00', '2025-03-06 22:54:08.163393+00', NULL, NULL),
	(17, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'earlier', 'earlier', '2025-03-03', 'success', 10, 10, 7, 7, 0, 4.526, '2025-03-06 22:54:04.027753+00', '2025-03-06 22:54:08.554068+00', NULL, NULL),
	(26, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 'earlier', 's3.customers', '2025-03-04', 'success', NULL, NULL, NULL, NULL, NULL, 0.100, '2025-03-06 22:54:26.772645+00', '2025-03-06 22:54:26.8722+00', NULL, NULL),
	(27, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 'earlier', 's3.orders', '2025-03-04', 'success', NULL, NULL, NULL, NULL, NULL, 0.079, '2025-03-06 22:54:27.381161+00', '2025-03-06 22:54:27.46028+00', NULL, NULL),
	(28, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 'earlier', 'raw.customers', '2025-03-04', 'success', 3, 3, NULL, NULL, 0, 0.126, '2025-03-06 22:54:27.95895+00', '2025-03-06 22:54:28.084655+00', NULL, NULL),
	(29, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 'earlier', 'raw.orders', '2025-03-04', 'held', 9, 0, NULL, NULL, 0, 0.127, '2025-03-06 22:54:28.568334+00', '2025-03-06 22:54:28.695437+00', 'held by grain; read from s3://kpi-earlier/raw/orders/load_date=2025-03-04/orders.csv; the candidate is kept as builds.raw__orders__20250304__29', 'builds.raw__orders__20250304__29'),
	(25, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', 'earlier', 'earlier', '2025-03-04', 'held', 12, 3, NULL, NULL, 0, 2.385, '2025-03-06 22:54:26.676107+00', '2025-03-06 22:54:29.061027+00', 'raw.orders: held by grain; read from s3://kpi-earlier/raw/orders/load_date=2025-03-04/orders.csv; the candidate is kept as builds.raw__orders__20250304__29', NULL),
	(31, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'earlier', 's3.customers', '2025-03-05', 'success', NULL, NULL, NULL, NULL, NULL, 0.073, '2025-03-06 22:54:45.386048+00', '2025-03-06 22:54:45.459235+00', NULL, NULL),
	(32, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'earlier', 's3.orders', '2025-03-05', 'success', NULL, NULL, NULL, NULL, NULL, 0.058, '2025-03-06 22:54:45.793165+00', '2025-03-06 22:54:45.851373+00', NULL, NULL),
	(33, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'earlier', 'raw.customers', '2025-03-05', 'success', 4, 4, NULL, NULL, 0, 0.168, '2025-03-06 22:54:46.297582+00', '2025-03-06 22:54:46.465678+00', NULL, NULL),
	(34, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'earlier', 'raw.orders', '2025-03-05', 'success', 9, 8, NULL, NULL, 1, 0.160, '2025-03-06 22:54:46.863755+00', '2025-03-06 22:54:47.024018+00', NULL, NULL),
	(35, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'earlier', 'stg.orders', '2025-03-05', 'success', NULL, NULL, 8, NULL, NULL, 0.147, '2025-03-06 22:54:47.520694+00', '2025-03-06 22:54:47.668106+00', NULL, NULL),
	(36, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'earlier', 'marts.kpi_products', '2025-03-05', 'success', NULL, NULL, NULL, 4, NULL, 0.196, '2025-03-06 22:54:48.009061+00', '2025-03-06 22:54:48.205114+00', NULL, NULL),
	(37, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'earlier', 'marts.sales', '2025-03-05', 'success', NULL, NULL, NULL, 3, NULL, 0.287, '2025-03-06 22:54:48.64869+00', '2025-03-06 22:54:48.93609+00', NULL, NULL),
	(30, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'earlier', 'earlier', '2025-03-05', 'success', 13, 12, 8, 7, 1, 3.908, '2025-03-06 22:54:45.332407+00', '2025-03-06 22:54:49.24006+00', NULL, NULL),
	(39, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'earlier', 's3.customers', '2025-03-03', 'success', NULL, NULL, NULL, NULL, NULL, 0.131, '2025-03-06 22:55:08.132139+00', '2025-03-06 22:55:08.263612+00', NULL, NULL),
	(40, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'earlier', 's3.orders', '2025-03-03', 'success', NULL, NULL, NULL, NULL, NULL, 0.067, '2025-03-06 22:55:08.728239+00', '2025-03-06 22:55:08.795798+00', NULL, NULL),
	(41, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'earlier', 'raw.customers', '2025-03-03', 'success', 3, 3, NULL, NULL, 0, 0.234, '2025-03-06 22:55:09.464257+00', '2025-03-06 22:55:09.698346+00', NULL, NULL),
	(42, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'earlier', 'raw.orders', '2025-03-03', 'success', 8, 8, NULL, NULL, 0, 0.255, '2025-03-06 22:55:10.330055+00', '2025-03-06 22:55:10.5855+00', NULL, NULL),
	(43, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'earlier', 'stg.orders', '2025-03-03', 'success', NULL, NULL, 8, NULL, NULL, 0.176, '2025-03-06 22:55:11.292634+00', '2025-03-06 22:55:11.468717+00', NULL, NULL),
	(44, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'earlier', 'marts.kpi_products', '2025-03-03', 'success', NULL, NULL, NULL, 4, NULL, 0.309, '2025-03-06 22:55:11.984201+00', '2025-03-06 22:55:12.293526+00', NULL, NULL),
	(45, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'earlier', 'marts.sales', '2025-03-03', 'success', NULL, NULL, NULL, 3, NULL, 0.288, '2025-03-06 22:55:12.926324+00', '2025-03-06 22:55:13.214561+00', NULL, NULL),
	(38, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'earlier', 'earlier', '2025-03-03', 'success', 11, 11, 8, 7, 0, 5.616, '2025-03-06 22:55:08.064009+00', '2025-03-06 22:55:13.680089+00', NULL, NULL);
INSERT INTO ops.publishes OVERRIDING SYSTEM VALUE VALUES
	(4, 'marts.kpi_products', '2025-03-01', 7, '6deac9fb-09ed-4332-ae8f-5eca95504957', '5902bfa9f66c5ff9', 'a08f3a8ae83a299d', 3, '12920519812070396428', 32768, '{"raw.orders": 2, "stg.orders": 3}', '2025-03-06 22:53:21.172243+00', NULL, NULL, '[["product", "text"], ["orders", "bigint"], ["average_price", "numeric"], ["is_low_volume", "boolean"]]', NULL),
	(5, 'marts.sales', '2025-03-01', 8, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'a02472f24f9656d9', '9ff6d7fa36136677', 3, '7309981445925982795', 32768, '{"raw.orders": 2, "stg.orders": 3, "raw.customers": 1}', '2025-03-06 22:53:21.656192+00', NULL, NULL, '[["country", "text"], ["orders", "bigint"], ["revenue", "numeric"]]', NULL),
	(6, 'raw.customers', '2025-03-02', 12, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', '76b7e2333dd5c704', '95f0656015c8442c', 3, '-13350867749119327360', 40960, '{}', '2025-03-06 22:53:43.071361+00', NULL, NULL, '[["customer_id", "integer"], ["country", "text"]]', NULL),
	(7, 'raw.orders', '2025-03-02', 13, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'ea77a5cd0add5371', '544d29f78db6cb8e', 8, '18496771335059802277', 40960, '{}', '2025-03-06 22:53:43.560077+00', NULL, NULL, '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["amount", "numeric(8,2)"]]', NULL),
	(8, 'stg.orders', '2025-03-02', 14, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'ea77a5cd0add5371', 'cff7ea8ca338e8b1', 8, '18496771335059802277 as order_id=order_id,customer_id=customer_id,product=product,price=amount', 0, '{"raw.orders": 7}', '2025-03-06 22:53:44.081945+00', NULL, NULL, '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["price", "numeric(8,2)"]]', NULL),
	(9, 'marts.kpi_products', '2025-03-02', 15, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', '08cd6c6c8bf517ee', 'a08f3a8ae83a299d', 4, '4942875257823049909', 32768, '{"raw.orders": 7, "stg.orders": 8}', '2025-03-06 22:53:44.412567+00', NULL, NULL, '[["product", "text"], ["orders", "bigint"], ["average_price", "numeric"], ["is_low_volume", "boolean"]]', NULL),
	(10, 'marts.sales', '2025-03-02', 16, 'ddfbf5e9-a0d0-45e9-9a04-e70dc0fee2c0', 'f264c37f7d9a57a5', '9ff6d7fa36136677', 3, '8054988355813710899', 32768, '{"raw.orders": 7, "stg.orders": 8, "raw.customers": 6, "raw.orders@2025-03-01": 2, "stg.orders@2025-03-01": 3, "raw.customers@2025-03-01": 1}', '2025-03-06 22:53:44.948212+00', NULL, NULL, '[["country", "text"], ["orders", "bigint"], ["revenue", "numeric"]]', NULL),
	(16, 'raw.customers', '2025-03-04', 28, '7147b45c-98ab-42b0-9e4c-48535bcb34f9', '44fb8fe7c9d37f29', '95f0656015c8442c', 3, '-13350867749119327360', 40960, '{}', '2025-03-06 22:54:28.07932+00', NULL, NULL, '[["customer_id", "integer"], ["country", "text"]]', NULL),
	(17, 'raw.customers', '2025-03-05', 33, '151c07f9-6648-4885-bfcb-4a66e871a81c', '581eb526e55a2e8d', '95f0656015c8442c', 4, '-21401981326677163190', 40960, '{}', '2025-03-06 22:54:46.452075+00', NULL, NULL, '[["customer_id", "integer"], ["country", "text"]]', NULL),
	(18, 'raw.orders', '2025-03-05', 34, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'a9110cc94a1191c0', '544d29f78db6cb8e', 8, '13074513001916243043', 32768, '{}', '2025-03-06 22:54:47.013877+00', NULL, NULL, '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["amount", "numeric(8,2)"]]', NULL),
	(19, 'stg.orders', '2025-03-05', 35, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'a9110cc94a1191c0', 'cff7ea8ca338e8b1', 8, '13074513001916243043 as order_id=order_id,customer_id=customer_id,product=product,price=amount', 0, '{"raw.orders": 18}', '2025-03-06 22:54:47.638665+00', NULL, NULL, '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["price", "numeric(8,2)"]]', NULL),
	(20, 'marts.kpi_products', '2025-03-05', 36, '151c07f9-6648-4885-bfcb-4a66e871a81c', '50fed107feba9122', 'a08f3a8ae83a299d', 4, '6358125974412528162', 32768, '{"raw.orders": 18, "stg.orders": 19}', '2025-03-06 22:54:48.185299+00', NULL, NULL, '[["product", "text"], ["orders", "bigint"], ["average_price", "numeric"], ["is_low_volume", "boolean"]]', NULL),
	(21, 'marts.sales', '2025-03-05', 37, '151c07f9-6648-4885-bfcb-4a66e871a81c', '48b081d8086bd9ae', '9ff6d7fa36136677', 3, '-1454764256357329000', 32768, '{"raw.orders": 18, "stg.orders": 19, "raw.customers": 17, "raw.orders@2025-03-03": 12, "stg.orders@2025-03-03": 13, "raw.customers@2025-03-03": 11}', '2025-03-06 22:54:48.930927+00', NULL, NULL, '[["country", "text"], ["orders", "bigint"], ["revenue", "numeric"]]', NULL),
	(12, 'raw.orders', '2025-03-03', 21, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', '12588c2f62e24d8e', '544d29f78db6cb8e', 7, '-5319498033358535088', 40960, '{}', '2025-03-06 22:54:06.396164+00', '2025-03-06 22:55:10.568233+00', NULL, '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["amount", "numeric(8,2)"]]', NULL),
	(14, 'marts.kpi_products', '2025-03-03', 23, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'd4e55f473d4de6a6', 'a08f3a8ae83a299d', 4, '-2492616990711242883', 32768, '{"raw.orders": 12, "stg.orders": 13}', '2025-03-06 22:54:07.563308+00', '2025-03-06 22:55:12.258866+00', NULL, '[["product", "text"], ["orders", "bigint"], ["average_price", "numeric"], ["is_low_volume", "boolean"]]', NULL),
	(15, 'marts.sales', '2025-03-03', 24, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'a7a0f93341e783b9', '9ff6d7fa36136677', 3, '-7770189587607397293', 32768, '{"raw.orders": 12, "stg.orders": 13, "raw.customers": 11, "raw.orders@2025-03-01": 2, "raw.orders@2025-03-02": 7, "stg.orders@2025-03-01": 3, "stg.orders@2025-03-02": 8, "raw.customers@2025-03-01": 1, "raw.customers@2025-03-02": 6}', '2025-03-06 22:54:08.160741+00', '2025-03-06 22:55:13.205442+00', NULL, '[["country", "text"], ["orders", "bigint"], ["revenue", "numeric"]]', NULL),
	(1, 'raw.customers', '2025-03-01', 4, '6deac9fb-09ed-4332-ae8f-5eca95504957', 'f1e9f9109340b5a5', '95f0656015c8442c', 3, '-13350867749119327360', 40960, '{}', '2025-03-06 22:53:19.818753+00', '2025-03-06 22:55:20.550706+00', '2025-03-06 22:55:20.550706+00', '[["customer_id", "integer"], ["country", "text"]]', NULL),
	(2, 'raw.orders', '2025-03-01', 5, '6deac9fb-09ed-4332-ae8f-5eca95504957', '3b0a4ecfbfad1e06', '544d29f78db6cb8e', 8, '23485369694546925269', 40960, '{}', '2025-03-06 22:53:20.332479+00', '2025-03-06 22:55:20.623876+00', '2025-03-06 22:55:20.623876+00', '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["amount", "numeric(8,2)"]]', NULL),
	(11, 'raw.customers', '2025-03-03', 20, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', 'ae9c006e8b609986', '95f0656015c8442c', 3, '-13350867749119327360', 40960, '{}', '2025-03-06 22:54:05.695374+00', '2025-03-06 22:55:09.688615+00', NULL, '[["customer_id", "integer"], ["country", "text"]]', NULL),
	(22, 'raw.customers', '2025-03-03', 41, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'ae9c006e8b609986', '95f0656015c8442c', 3, '-13350867749119327360', 40960, '{}', '2025-03-06 22:55:09.68965+00', NULL, NULL, '[["customer_id", "integer"], ["country", "text"]]', NULL),
	(23, 'raw.orders', '2025-03-03', 42, '9e604945-c688-4b23-ac5e-5c72c7007b47', '5f9be0fa64b47ae6', '544d29f78db6cb8e', 8, '-973283520412141588', 40960, '{}', '2025-03-06 22:55:10.569025+00', NULL, NULL, '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["amount", "numeric(8,2)"]]', NULL),
	(13, 'stg.orders', '2025-03-03', 22, '2dae5370-9fbf-4e80-af13-e7abcd8d2ce7', '12588c2f62e24d8e', 'cff7ea8ca338e8b1', 7, '-5319498033358535088 as order_id=order_id,customer_id=customer_id,product=product,price=amount', 0, '{"raw.orders": 12}', '2025-03-06 22:54:07.101029+00', '2025-03-06 22:55:10.580338+00', NULL, '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["price", "numeric(8,2)"]]', NULL),
	(24, 'stg.orders', '2025-03-03', 22, '9e604945-c688-4b23-ac5e-5c72c7007b47', '5f9be0fa64b47ae6', 'cff7ea8ca338e8b1', 8, '-973283520412141588 as order_id=order_id,customer_id=customer_id,product=product,price=amount', 0, '{"raw.orders": 23}', '2025-03-06 22:55:10.580431+00', '2025-03-06 22:55:11.448305+00', NULL, '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["price", "numeric(8,2)"]]', NULL),
	(25, 'stg.orders', '2025-03-03', 43, '9e604945-c688-4b23-ac5e-5c72c7007b47', '5f9be0fa64b47ae6', 'cff7ea8ca338e8b1', 8, '-973283520412141588 as order_id=order_id,customer_id=customer_id,product=product,price=amount', 0, '{"raw.orders": 23}', '2025-03-06 22:55:11.453138+00', NULL, NULL, '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["price", "numeric(8,2)"]]', NULL),
	(26, 'marts.kpi_products', '2025-03-03', 44, '9e604945-c688-4b23-ac5e-5c72c7007b47', '59283685b9628785', 'a08f3a8ae83a299d', 4, '-5890097925844477121', 32768, '{"raw.orders": 23, "stg.orders": 25}', '2025-03-06 22:55:12.260107+00', NULL, NULL, '[["product", "text"], ["orders", "bigint"], ["average_price", "numeric"], ["is_low_volume", "boolean"]]', NULL),
	(27, 'marts.sales', '2025-03-03', 45, '9e604945-c688-4b23-ac5e-5c72c7007b47', 'a56ca7e53c7fe605', '9ff6d7fa36136677', 3, '-18827741667969676104', 32768, '{"raw.orders": 23, "stg.orders": 25, "raw.customers": 22, "raw.orders@2025-03-01": 2, "raw.orders@2025-03-02": 7, "stg.orders@2025-03-01": 3, "stg.orders@2025-03-02": 8, "raw.customers@2025-03-01": 1, "raw.customers@2025-03-02": 6}', '2025-03-06 22:55:13.206505+00', NULL, NULL, '[["country", "text"], ["orders", "bigint"], ["revenue", "numeric"]]', NULL),
	(3, 'stg.orders', '2025-03-01', 6, '6deac9fb-09ed-4332-ae8f-5eca95504957', '3b0a4ecfbfad1e06', 'cff7ea8ca338e8b1', 8, '23485369694546925269 as order_id=order_id,customer_id=customer_id,product=product,price=amount', 0, '{"raw.orders": 2}', '2025-03-06 22:53:20.8174+00', '2025-03-06 22:55:20.623876+00', '2025-03-06 22:55:20.623876+00', '[["order_id", "integer"], ["customer_id", "integer"], ["product", "text"], ["price", "numeric(8,2)"]]', NULL);
INSERT INTO ops.quarantine OVERRIDING SYSTEM VALUE VALUES
	(1, 34, '151c07f9-6648-4885-bfcb-4a66e871a81c', 'raw.orders', '2025-03-05', 'raw/orders/load_date=2025-03-05/orders.csv', 10, '59,2,saw,cheap', 'amount', 'cheap', 'a decimal number has digits and at most one point, without exponent and grouping: write it so, or declare the column as text and cast it in staging', '2025-03-06 22:54:46.978296+00');
INSERT INTO raw.customers VALUES
	('2025-03-02', 1, 'FR'),
	('2025-03-02', 2, 'DE'),
	('2025-03-02', 3, 'PT'),
	('2025-03-04', 1, 'FR'),
	('2025-03-04', 2, 'DE'),
	('2025-03-04', 3, 'PT'),
	('2025-03-05', 1, 'FR'),
	('2025-03-05', 2, 'DE'),
	('2025-03-05', 3, 'PT'),
	('2025-03-05', 4, 'IT'),
	('2025-03-03', 1, 'FR'),
	('2025-03-03', 2, 'DE'),
	('2025-03-03', 3, 'PT');
SELECT pg_catalog.setval('ops.alerts_id_seq', 1, true);
SELECT pg_catalog.setval('ops.data_quality_results_id_seq', 134, true);
SELECT pg_catalog.setval('ops.manifests_manifest_id_seq', 12, true);
SELECT pg_catalog.setval('ops.pipeline_runs_id_seq', 45, true);
SELECT pg_catalog.setval('ops.publishes_publish_id_seq', 27, true);
SELECT pg_catalog.setval('ops.quarantine_id_seq', 1, true);
ALTER TABLE ONLY ops.alert_deliveries
    ADD CONSTRAINT alert_deliveries_pkey PRIMARY KEY (alert_id, channel);
ALTER TABLE ONLY ops.alerts
    ADD CONSTRAINT alerts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY ops.data_quality_results
    ADD CONSTRAINT data_quality_results_pkey PRIMARY KEY (id);
ALTER TABLE ONLY ops.holds
    ADD CONSTRAINT holds_pkey PRIMARY KEY (build_id);
ALTER TABLE ONLY ops.locks
    ADD CONSTRAINT locks_pkey PRIMARY KEY (name, share);
ALTER TABLE ONLY ops.manifests
    ADD CONSTRAINT manifests_object_load_date_manifest_hash_key UNIQUE (object, load_date, manifest_hash);
ALTER TABLE ONLY ops.manifests
    ADD CONSTRAINT manifests_pkey PRIMARY KEY (manifest_id);
ALTER TABLE ONLY ops.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY ops.pipeline_runs
    ADD CONSTRAINT pipeline_runs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY ops.publishes
    ADD CONSTRAINT publishes_pkey PRIMARY KEY (publish_id);
ALTER TABLE ONLY ops.quarantine
    ADD CONSTRAINT quarantine_pkey PRIMARY KEY (id);
ALTER TABLE ONLY ops.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (load_date);
CREATE UNIQUE INDEX raw__orders__20250302__13_key ON builds.raw__orders__20250302__13 USING btree (order_id) WITH (fillfactor='100');
CREATE UNIQUE INDEX raw__orders__20250303__42_key ON builds.raw__orders__20250303__42 USING btree (order_id) WITH (fillfactor='100');
CREATE UNIQUE INDEX raw__orders__20250305__34_key ON builds.raw__orders__20250305__34 USING btree (order_id) WITH (fillfactor='100');
CREATE UNIQUE INDEX "kpi_products d49497af1edd72e9" ON marts.kpi_products USING btree (load_date, product);
CREATE UNIQUE INDEX "sales 371c1636da52448a" ON marts.sales USING btree (load_date, country);
CREATE INDEX alert_deliveries_channel_alert_id_idx ON ops.alert_deliveries USING btree (channel, alert_id) WHERE (delivered_at IS NULL);
CREATE INDEX alert_deliveries_channel_delivered_at_idx ON ops.alert_deliveries USING btree (channel, delivered_at);
CREATE UNIQUE INDEX alerts_job_idx ON ops.alerts USING btree (job) WHERE ((kind = 'stalled'::text) AND (closed_at IS NULL));
CREATE UNIQUE INDEX alerts_pipeline_name_load_date_kind_idx ON ops.alerts USING btree (pipeline_name, load_date, kind) WHERE (closed_at IS NULL);
CREATE INDEX alerts_run_id_idx ON ops.alerts USING btree (run_id);
CREATE INDEX data_quality_results_run_id_idx ON ops.data_quality_results USING btree (run_id);
CREATE INDEX data_quality_results_table_name_load_date_check_name_id_idx ON ops.data_quality_results USING btree (table_name, load_date, check_name, id);
CREATE INDEX pipeline_runs_id_idx ON ops.pipeline_runs USING btree (id) WHERE (status = 'running'::text);
CREATE INDEX pipeline_runs_job_load_date_id_idx ON ops.pipeline_runs USING btree (job, load_date, id);
CREATE INDEX pipeline_runs_load_date_id_idx ON ops.pipeline_runs USING btree (load_date, id);
CREATE INDEX pipeline_runs_run_id_idx ON ops.pipeline_runs USING btree (run_id);
CREATE UNIQUE INDEX publishes_asset_load_date_idx ON ops.publishes USING btree (asset, load_date) WHERE (superseded_at IS NULL);
CREATE INDEX publishes_asset_load_date_publish_id_idx ON ops.publishes USING btree (asset, load_date, publish_id);
CREATE INDEX publishes_build_id_idx ON ops.publishes USING btree (build_id);
CREATE INDEX quarantine_table_name_load_date_build_id_idx ON ops.quarantine USING btree (table_name, load_date, build_id);
CREATE UNIQUE INDEX "customers 80ce66f1a4d3c775" ON raw.customers USING btree (load_date, customer_id);
ALTER TABLE ONLY ops.alert_deliveries
    ADD CONSTRAINT alert_deliveries_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES ops.alerts(id);
ALTER TABLE ONLY ops.data_quality_results
    ADD CONSTRAINT data_quality_results_build_id_fkey FOREIGN KEY (build_id) REFERENCES ops.pipeline_runs(id);
ALTER TABLE ONLY ops.holds
    ADD CONSTRAINT holds_build_id_fkey FOREIGN KEY (build_id) REFERENCES ops.pipeline_runs(id);
ALTER TABLE ONLY ops.publishes
    ADD CONSTRAINT publishes_build_id_fkey FOREIGN KEY (build_id) REFERENCES ops.pipeline_runs(id);
ALTER TABLE ONLY ops.quarantine
    ADD CONSTRAINT quarantine_build_id_fkey FOREIGN KEY (build_id) REFERENCES ops.pipeline_runs(id);
GRANT ALL ON SCHEMA builds TO kpi_loader;
GRANT ALL ON SCHEMA builds TO kpi_builder;
GRANT ALL ON SCHEMA marts TO kpi_builder;
GRANT USAGE ON SCHEMA marts TO kpi_reader;
GRANT USAGE ON SCHEMA ops TO kpi_loader;
GRANT USAGE ON SCHEMA ops TO kpi_builder;
GRANT USAGE ON SCHEMA ops TO kpi_reviewer;
GRANT USAGE ON SCHEMA ops TO kpi_reader;
GRANT ALL ON SCHEMA raw TO kpi_loader;
GRANT USAGE ON SCHEMA raw TO kpi_builder;
GRANT ALL ON SCHEMA stg TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_lock(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_lock(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_lock(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_lock(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_lock(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_lock(integer, integer) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_lock_shared(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_lock_shared(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_lock_shared(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_lock_shared(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_lock_shared(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_lock_shared(integer, integer) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_unlock(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_unlock(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock(integer, integer) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_unlock_all() FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock_all() TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock_all() TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_unlock_shared(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock_shared(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock_shared(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_unlock_shared(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock_shared(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_unlock_shared(integer, integer) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock(integer, integer) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared(integer, integer) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_try_advisory_lock(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_lock(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_lock(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_try_advisory_lock(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_lock(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_lock(integer, integer) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_try_advisory_lock_shared(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_lock_shared(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_lock_shared(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_try_advisory_lock_shared(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_lock_shared(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_lock_shared(integer, integer) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock(integer, integer) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared(bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared(bigint) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared(bigint) TO kpi_builder;
REVOKE ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared(integer, integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared(integer, integer) TO kpi_loader;
GRANT ALL ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared(integer, integer) TO kpi_builder;
GRANT SELECT ON TABLE raw.orders TO kpi_builder;
GRANT SELECT ON TABLE builds.raw__orders__20250302__13 TO kpi_builder;
GRANT SELECT ON TABLE builds.raw__orders__20250303__42 TO kpi_builder;
GRANT SELECT ON TABLE builds.raw__orders__20250304__29 TO kpi_builder;
GRANT SELECT ON TABLE builds.raw__orders__20250305__34 TO kpi_builder;
GRANT SELECT ON TABLE marts.kpi_products TO kpi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.publishes TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.publishes TO kpi_builder;
GRANT SELECT ON TABLE ops.publishes TO kpi_reviewer;
GRANT SELECT ON TABLE ops.publishes TO kpi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.published TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.published TO kpi_builder;
GRANT SELECT ON TABLE ops.published TO kpi_reviewer;
GRANT SELECT ON TABLE ops.published TO kpi_reader;
GRANT SELECT ON TABLE marts.kpi_products_latest TO kpi_reader;
GRANT SELECT ON TABLE marts.sales TO kpi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.alert_deliveries TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.alert_deliveries TO kpi_builder;
GRANT SELECT ON TABLE ops.alert_deliveries TO kpi_reviewer;
GRANT SELECT(alert_id) ON TABLE ops.alert_deliveries TO kpi_reader;
GRANT SELECT(channel) ON TABLE ops.alert_deliveries TO kpi_reader;
GRANT SELECT(attempts) ON TABLE ops.alert_deliveries TO kpi_reader;
GRANT SELECT(next_attempt_at) ON TABLE ops.alert_deliveries TO kpi_reader;
GRANT SELECT(delivered_at) ON TABLE ops.alert_deliveries TO kpi_reader;
GRANT SELECT(message) ON TABLE ops.alert_deliveries TO kpi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.alerts TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.alerts TO kpi_builder;
GRANT SELECT ON TABLE ops.alerts TO kpi_reviewer;
GRANT SELECT(id) ON TABLE ops.alerts TO kpi_reader;
GRANT SELECT(pipeline_name) ON TABLE ops.alerts TO kpi_reader;
GRANT SELECT(load_date) ON TABLE ops.alerts TO kpi_reader;
GRANT SELECT(kind) ON TABLE ops.alerts TO kpi_reader;
GRANT SELECT(run_id) ON TABLE ops.alerts TO kpi_reader;
GRANT SELECT(job) ON TABLE ops.alerts TO kpi_reader;
GRANT SELECT(occurrences) ON TABLE ops.alerts TO kpi_reader;
GRANT SELECT(opened_at) ON TABLE ops.alerts TO kpi_reader;
GRANT SELECT(last_at) ON TABLE ops.alerts TO kpi_reader;
GRANT SELECT(closed_at) ON TABLE ops.alerts TO kpi_reader;
GRANT USAGE ON SEQUENCE ops.alerts_id_seq TO kpi_loader;
GRANT USAGE ON SEQUENCE ops.alerts_id_seq TO kpi_builder;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.data_quality_results TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.data_quality_results TO kpi_builder;
GRANT SELECT ON TABLE ops.data_quality_results TO kpi_reviewer;
GRANT SELECT(id) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(run_id) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(build_id) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(check_name) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(table_name) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(load_date) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(status) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(blocking) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(metric_value) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(threshold) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(subject) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT SELECT(checked_at) ON TABLE ops.data_quality_results TO kpi_reader;
GRANT USAGE ON SEQUENCE ops.data_quality_results_id_seq TO kpi_loader;
GRANT USAGE ON SEQUENCE ops.data_quality_results_id_seq TO kpi_builder;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.holds TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.holds TO kpi_builder;
GRANT SELECT ON TABLE ops.holds TO kpi_reviewer;
GRANT SELECT ON TABLE ops.holds TO kpi_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.locks TO kpi_loader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.locks TO kpi_builder;
GRANT SELECT ON TABLE ops.locks TO kpi_reviewer;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.manifests TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.manifests TO kpi_builder;
GRANT SELECT ON TABLE ops.manifests TO kpi_reviewer;
GRANT SELECT ON TABLE ops.manifests TO kpi_reader;
GRANT USAGE ON SEQUENCE ops.manifests_manifest_id_seq TO kpi_loader;
GRANT USAGE ON SEQUENCE ops.manifests_manifest_id_seq TO kpi_builder;
GRANT SELECT ON TABLE ops.migrations TO kpi_loader;
GRANT SELECT ON TABLE ops.migrations TO kpi_builder;
GRANT SELECT ON TABLE ops.migrations TO kpi_reviewer;
GRANT SELECT ON TABLE ops.migrations TO kpi_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.pipeline_runs TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.pipeline_runs TO kpi_builder;
GRANT SELECT ON TABLE ops.pipeline_runs TO kpi_reviewer;
GRANT SELECT(id) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(run_id) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(pipeline_name) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(job) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(load_date) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(status) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(rows_extracted) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(rows_loaded_raw) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(rows_loaded_staging) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(rows_loaded_marts) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(rows_quarantined) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(execution_seconds) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(started_at) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(ended_at) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT SELECT(candidate) ON TABLE ops.pipeline_runs TO kpi_reader;
GRANT USAGE ON SEQUENCE ops.pipeline_runs_id_seq TO kpi_loader;
GRANT USAGE ON SEQUENCE ops.pipeline_runs_id_seq TO kpi_builder;
GRANT USAGE ON SEQUENCE ops.publishes_publish_id_seq TO kpi_loader;
GRANT USAGE ON SEQUENCE ops.publishes_publish_id_seq TO kpi_builder;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.quarantine TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.quarantine TO kpi_builder;
GRANT SELECT ON TABLE ops.quarantine TO kpi_reviewer;
GRANT SELECT(id) ON TABLE ops.quarantine TO kpi_reader;
GRANT SELECT(build_id) ON TABLE ops.quarantine TO kpi_reader;
GRANT SELECT(run_id) ON TABLE ops.quarantine TO kpi_reader;
GRANT SELECT(table_name) ON TABLE ops.quarantine TO kpi_reader;
GRANT SELECT(load_date) ON TABLE ops.quarantine TO kpi_reader;
GRANT SELECT(object_key) ON TABLE ops.quarantine TO kpi_reader;
GRANT SELECT(line) ON TABLE ops.quarantine TO kpi_reader;
GRANT SELECT(column_name) ON TABLE ops.quarantine TO kpi_reader;
GRANT SELECT(quarantined_at) ON TABLE ops.quarantine TO kpi_reader;
GRANT USAGE ON SEQUENCE ops.quarantine_id_seq TO kpi_loader;
GRANT USAGE ON SEQUENCE ops.quarantine_id_seq TO kpi_builder;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.requests TO kpi_loader;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.requests TO kpi_builder;
GRANT SELECT ON TABLE ops.requests TO kpi_reviewer;
GRANT SELECT ON TABLE ops.requests TO kpi_reader;
GRANT SELECT ON TABLE raw.customers TO kpi_builder;
ALTER DEFAULT PRIVILEGES FOR ROLE kpi_loader IN SCHEMA builds GRANT SELECT ON TABLES TO kpi_builder;
ALTER DEFAULT PRIVILEGES FOR ROLE kpi_builder IN SCHEMA marts GRANT SELECT ON TABLES TO kpi_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE kpi IN SCHEMA ops GRANT SELECT ON TABLES TO kpi_reviewer;
ALTER DEFAULT PRIVILEGES FOR ROLE kpi_loader IN SCHEMA raw GRANT SELECT ON TABLES TO kpi_builder;
