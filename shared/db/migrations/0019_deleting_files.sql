-- Who deletes a file says so before looking whether another event has it by now: nobody stores it anew until that is over.
ALTER TABLE expired_files ADD COLUMN deleting_until timestamptz;
