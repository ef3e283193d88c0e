# The PostgreSQL extension, built by PGXS for the server that PG_CONFIG names.
